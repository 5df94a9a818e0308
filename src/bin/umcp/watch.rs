//! `umcp watch`: what a server says unasked, line by line, until one side ends.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::json;
use umcp::{Client, ClientBuilder, Era, Error, ErrorKind, LoggingLevel, Notification, RawJson};

use crate::complain;
use crate::failure::{Failure, status};
use crate::meanwhile::{ask_for_log, log_line};
use crate::output::Output;

/// Whoever read the output has left (`None`), or it cannot be written any more.
type End = OnceLock<Option<Failure>>;

/// Prints notifications, each as it comes, and closes the connection once nobody reads them.
pub(crate) struct Watch {
    output: Output,
    end: Arc<End>,
}

impl Watch {
    pub(crate) fn new(output: Output) -> Self {
        Self { output, end: Arc::default() }
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        let (output, end) = (self.output, self.end.clone());
        Client::builder().on_notification(move |notification, context| {
            let line = match output.json {
                true => json_line(notification),
                false => line(notification),
            };
            let failed = match output.line(&line) {
                Ok(true) => return,
                Ok(false) => None,
                Err(failure) => Some(failure),
            };
            let _ = end.set(failed);
            context.client().close();
        })
    }

    /// Waits for the end. Returns the exit status.
    pub(crate) fn run(
        self,
        client: &Client,
        level: &LoggingLevel,
        is_remote: bool,
    ) -> Result<u8, Failure> {
        // Without a connection that outlives a request, the subscription is all there is.
        let is_all = is_remote && client.protocol_version().era() != Era::Legacy;
        let asked = match client.protocol_version().era() {
            Era::Legacy if client.capabilities().logging.is_some() => ask_for_log(client, level),
            Era::Legacy => Ok(()),
            _ => subscribe(client).map(|end| {
                complain(&format!("{}: {end}", client.server_name()));
            }),
        };
        match asked {
            // The end of the connection, before which there may be more to print.
            Err(error) if matches!(error.kind(), ErrorKind::Disconnected | ErrorKind::Closed) => {}
            Err(error) if is_all => return Err(error.into()),
            Err(error) => complain(&Failure::from(error).text),
            Ok(()) if is_all => return Ok(status::UNREACHABLE),
            Ok(()) => {}
        }
        let why = client.wait_for_end(Duration::MAX);
        match (self.end.get(), why) {
            (Some(Some(failure)), _) => Err(failure.clone()),
            (None, Some(why)) => Err(why.into()),
            _ => Ok(status::DONE),
        }
    }
}

/// Subscribes to the lists that may change, and returns why that has ended.
fn subscribe(client: &Client) -> Result<&'static str, Error> {
    let offers = client.capabilities();
    let of_tools = offers.tools.as_ref().is_some_and(|of| of.list_changed);
    let of_prompts = offers.prompts.as_ref().is_some_and(|of| of.list_changed);
    let of_resources = offers.resources.as_ref().is_some_and(|of| of.list_changed);
    if !(of_tools || of_prompts || of_resources) {
        return Ok("the server declares no changes to listen to");
    }
    let wanted = json!({
        "toolsListChanged": of_tools,
        "promptsListChanged": of_prompts,
        "resourcesListChanged": of_resources,
    });
    let listen = client.request("subscriptions/listen", json!({ "notifications": wanted }));
    listen.timeout(Duration::MAX).max_total(Duration::MAX).call()?;
    Ok("the server ended the subscription")
}

/// A log message as such, anything else as its name and params.
fn line(notification: &Notification) -> String {
    if let Some(message) = notification.log_message() {
        return log_line(&message);
    }
    let method = notification.method();
    match notification.params().get() {
        "{}" => method.to_owned(),
        params => format!("{method} {params}"),
    }
}

/// The notification as it came.
fn json_line(notification: &Notification) -> String {
    #[derive(serde::Serialize)]
    struct Whole<'a> {
        jsonrpc: &'static str,
        method: &'a str,
        params: &'a RawJson,
    }
    let (method, params) = (notification.method(), notification.params());
    let line = serde_json::to_string(&Whole { jsonrpc: "2.0", method, params });
    // As it came it may have line breaks, though never inside a string.
    line.unwrap_or_default().replace(['\n', '\r'], " ")
}
