//! `umcp watch`: what a server says unasked, line by line, until one side ends.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use umcp::{Change, Client, ClientBuilder, Era, Error, ErrorKind, Event, EventKind, LoggingLevel};
use umcp::{RawJson, SubscriptionBuilder};

use crate::complain;
use crate::failure::{Failure, status};
use crate::meanwhile::{ask_for_log, log_line};
use crate::output::Output;

const SAID_UNASKED: [EventKind; 6] = [
    EventKind::ToolsChanged,
    EventKind::PromptsChanged,
    EventKind::ResourcesChanged,
    EventKind::ResourceUpdated,
    EventKind::LogMessage,
    EventKind::Notification,
];

/// Prints what the server says, each as it comes, and closes the connection once nobody reads it.
pub(crate) struct Watch {
    output: Output,
    end: Arc<End>,
}

#[derive(Default)]
struct End {
    client: OnceLock<Client>,
    /// Whoever read the output has left (`None`), or it cannot be written any more.
    of_output: OnceLock<Option<Failure>>,
}

impl End {
    /// Whichever of the two comes last, client or end, finds the other.
    fn close(&self) {
        if let (Some(client), Some(_)) = (self.client.get(), self.of_output.get()) {
            client.close();
        }
    }
}

impl Watch {
    pub(crate) fn new(output: Output) -> Self {
        Self { output, end: Arc::default() }
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        SAID_UNASKED.into_iter().fold(Client::builder(), |builder, kind| {
            let (output, end) = (self.output, self.end.clone());
            builder.on(kind, move |event| {
                if event.missed() > 0 {
                    complain(&format!("{}: missed {} lines", event.server(), event.missed()));
                }
                let line = if output.json { json_line(event) } else { line(event) };
                let failed = match output.line(&line) {
                    Ok(true) => return,
                    Ok(false) => None,
                    Err(failure) => Some(failure),
                };
                let _ = end.of_output.set(failed);
                end.close();
            })
        })
    }

    /// Waits for the end. Returns the exit status.
    pub(crate) fn run(
        self,
        client: &Client,
        level: &LoggingLevel,
        resources: &[String],
        is_remote: bool,
    ) -> Result<u8, Failure> {
        let _ = self.end.client.set(client.clone());
        self.end.close();
        let status = self.listen(client, level, resources, is_remote);
        // The clone would keep it open.
        client.close();
        status
    }

    fn listen(
        &self,
        client: &Client,
        level: &LoggingLevel,
        resources: &[String],
        is_remote: bool,
    ) -> Result<u8, Failure> {
        let is_legacy = client.protocol_version().era() == Era::Legacy;
        // Without a connection that outlives a request, the subscription is all there is.
        let is_all = is_remote && !is_legacy;
        let asked = match is_legacy && client.capabilities().logging.is_some() {
            true => ask_for_log(client, level),
            false => Ok(()),
        };
        match asked.and_then(|()| subscribe(client, resources)) {
            // The end of the connection, before which there may be more to print.
            Err(error) if matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::Closed) => {}
            Err(error) if is_all => return Err(error.into()),
            Err(error) => complain(&Failure::from(error).text),
            Ok(()) if is_all => return Ok(status::UNREACHABLE),
            Ok(()) => {}
        }
        let why = client.wait_for_end(Duration::MAX);
        match (self.end.of_output.get(), why) {
            (Some(Some(failure)), _) => Err(failure.clone()),
            (None, Some(why)) => Err(why.into()),
            _ => Ok(status::DONE),
        }
    }
}

/// Subscribes to these resources, and to a modern server's lists, which a legacy server reports
/// unasked. Returns when that has ended, or at once if there is nothing to subscribe to.
fn subscribe(client: &Client, resources: &[String]) -> Result<(), Error> {
    let is_legacy = client.protocol_version().era() == Era::Legacy;
    let wanted = match is_legacy {
        true if resources.is_empty() => return Ok(()),
        true => client.subscribe(),
        false => client.subscribe().lists(),
    };
    let changes = match resources.iter().fold(wanted, SubscriptionBuilder::resource).open() {
        Err(error) if resources.is_empty() && error.kind() == ErrorKind::Unsupported => {
            let name = client.server_name();
            complain(&format!("{name}: the server declares no changes to listen to"));
            return Ok(());
        }
        opened => opened?,
    };
    // What it says is printed as it comes, with everything else.
    for change in changes {
        match change {
            Ok(Change::Missed { .. }) => {
                let name = client.server_name();
                complain(&format!("{name}: the connection was interrupted: there may be more"));
            }
            Ok(_) => {}
            Err(end) if end.kind() == ErrorKind::Ended => {
                complain(&Failure::from(end).text);
                return Ok(());
            }
            Err(end) => return Err(end),
        }
    }
    Ok(())
}

/// A log message as such, anything else as its name and params.
fn line(event: &Event) -> String {
    if let Some(message) = event.log_message() {
        return log_line(&message);
    }
    let method = event.method();
    match event.params().map_or("{}", RawJson::get) {
        "{}" => method.to_owned(),
        params => format!("{method} {params}"),
    }
}

/// The notification as it came.
fn json_line(event: &Event) -> String {
    #[derive(serde::Serialize)]
    struct Whole<'a> {
        jsonrpc: &'static str,
        method: &'a str,
        params: Option<&'a RawJson>,
    }
    let (method, params) = (event.method(), event.params());
    let line = serde_json::to_string(&Whole { jsonrpc: "2.0", method, params });
    // As it came it may have line breaks, though never inside a string.
    line.unwrap_or_default().replace(['\n', '\r'], " ")
}
