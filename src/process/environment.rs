//! Which of this program's variables a server sees.
//!
//! A server is somebody else's program: it gets what programs need to work, and none of the
//! tokens that happen to be around.

use std::ffi::OsStr;
use std::process::Command;

use super::CommandLine;

/// Variables that are passed on. A `*` at the end stands for anything.
const PASSED: &[&str] = &[
    // What the official SDKs pass.
    "HOME",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "USER",
    "APPDATA",
    "HOMEDRIVE",
    "HOMEPATH",
    "LOCALAPPDATA",
    "PROCESSOR_ARCHITECTURE",
    "SYSTEMDRIVE",
    "SYSTEMROOT",
    "TEMP",
    "USERNAME",
    "USERPROFILE",
    "PROGRAMFILES",
    // Windows programs that start others.
    "PATHEXT",
    "COMSPEC",
    "WINDIR",
    "PROGRAMDATA",
    "ALLUSERSPROFILE",
    "COMMONPROGRAMFILES",
    "COMMONPROGRAMFILES(X86)",
    "PROGRAMFILES(X86)",
    "PROGRAMW6432",
    "NUMBER_OF_PROCESSORS",
    "OS",
    "PUBLIC",
    // Reaching the network from behind a proxy, with a private CA.
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "FTP_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    // Language, time and places for files.
    "LANG",
    "LANGUAGE",
    "LC_*",
    "TZ",
    "TMP",
    "TMPDIR",
    "XDG_*",
    "PWD",
    // Version managers, which programs on PATH may be shims of.
    "NVM_DIR",
    "NVM_BIN",
    "FNM_DIR",
    "FNM_MULTISHELL_PATH",
    "VOLTA_HOME",
    "ASDF_DIR",
    "ASDF_DATA_DIR",
    "MISE_DATA_DIR",
    "PYENV_ROOT",
    "PYENV_VERSION",
    "RBENV_ROOT",
    "RBENV_VERSION",
    "NODENV_ROOT",
    "GOENV_ROOT",
    "JAVA_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "CARGO_HOME",
    "GOPATH",
    "GOROOT",
    "DENO_DIR",
    "BUN_INSTALL",
    "PNPM_HOME",
    "CONDA_PREFIX",
    "VIRTUAL_ENV",
    "NIX_PATH",
    "NIX_PROFILES",
];

fn is_passed(name: &OsStr) -> bool {
    // Windows' names have no case, and proxies are written in either everywhere.
    let name = name.to_string_lossy().to_ascii_uppercase();
    PASSED.iter().any(|passed| match passed.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == *passed,
    })
}

/// Gives the command its variables. Returns the names of those that were withheld.
pub(super) fn apply(line: &CommandLine, command: &mut Command) -> Vec<String> {
    let mut withheld = Vec::new();
    if !line.inherit_env {
        command.env_clear();
        for (name, value) in std::env::vars_os() {
            // A value that starts like this is an exported shell function, which is code.
            if is_passed(&name) && !value.to_string_lossy().starts_with("()") {
                command.env(name, value);
            } else if !line.env.contains_key(&name) {
                withheld.push(name.to_string_lossy().into_owned());
            }
        }
    }
    for (name, value) in &line.env {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    withheld
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_need_is_passed_and_tokens_are_not() {
        for name in ["PATH", "Path", "https_proxy", "LC_ALL", "XDG_RUNTIME_DIR", "NVM_DIR"] {
            assert!(is_passed(OsStr::new(name)), "{name}");
        }
        for name in ["GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "PATHS", "LC", "NODE_OPTIONS"] {
            assert!(!is_passed(OsStr::new(name)), "{name}");
        }
    }
}
