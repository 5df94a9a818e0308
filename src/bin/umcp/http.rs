//! The options for servers that are URLs.

use std::fs;
use std::path::{Path, PathBuf};
use std::{env, io};

use clap::Args;
use umcp::Server;

use crate::failure::Failure;

#[derive(Args)]
#[command(next_help_heading = "Options for --url")]
pub(crate) struct Http {
    /// Send a header. Other users of this machine can see it: prefer --bearer-env for a token
    #[arg(long, global = true, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Send the bearer token that stands in this variable
    #[arg(long, global = true, value_name = "VARIABLE")]
    bearer_env: Option<String>,
    /// Send credentials over http:// also to other machines
    #[arg(long, global = true)]
    allow_plain_http_credentials: bool,
    /// Believe only servers that are certified by an authority in this file, in PEM
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Show the certificate in this file to a server that asks for one, in PEM
    #[arg(long, global = true, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The certificate's private key, if it is in another file
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<PathBuf>,
}

impl Http {
    pub(crate) fn set(&self, mut server: Server) -> Result<Server, Failure> {
        for header in &self.header {
            let Some((name, value)) = header.split_once(':') else {
                // It may be nothing but a secret.
                return Err(Failure::usage("`--header` takes a name and a value: 'Name: value'"));
            };
            server = server.header(name.trim(), value);
        }
        if let Some(variable) = &self.bearer_env {
            let Ok(token) = env::var(variable) else {
                let text = format_args!("`--bearer-env`: there is no variable `{variable}`");
                return Err(Failure::usage(text));
            };
            server = server.bearer_token(token.trim());
        }
        if self.allow_plain_http_credentials {
            server = server.allow_plain_http_credentials();
        }
        if let Some(file) = &self.ca {
            server = server.ca_certificates(read("--ca", file)?);
        }
        if let Some(file) = &self.cert {
            let certificate = read("--cert", file)?;
            let key = match &self.key {
                Some(file) => read("--key", file)?,
                None => certificate.clone(),
            };
            server = server.client_certificate(certificate, key);
        } else if self.key.is_some() {
            return Err(Failure::usage("`--key` is the key of a certificate: give `--cert` too"));
        }
        Ok(server)
    }
}

fn read(option: &str, file: &Path) -> Result<Vec<u8>, Failure> {
    let wrong = |error: io::Error| {
        Failure::usage(format_args!("`{option}`: file `{}`: {error}", file.display()))
    };
    fs::read(file).map_err(wrong)
}
