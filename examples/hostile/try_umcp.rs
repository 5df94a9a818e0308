//! What umcp makes of the faults.

use std::env;
use std::time::Duration;

use umcp::{Client, Result, Server, Timeouts, json};

use crate::faults::FAULTS;

/// These take their time, or leave a process behind.
const LEFT_OUT: [&str; 3] = ["stderr-50mib", "reply-200mib", "grandchild-setsid"];

pub fn on_all() {
    println!("{:<20} what umcp says of the first call, and of the one after it", "fault");
    for fault in FAULTS.iter().filter(|fault| !LEFT_OUT.contains(&fault.name)) {
        match calls(fault.name) {
            Ok([first, second]) => println!("{:<20} {first}\n{:<20} {second}", fault.name, ""),
            Err(error) => println!("{:<20} not connected: {}", fault.name, in_short(&error)),
        }
    }
}

fn calls(fault: &str) -> Result<[String; 2]> {
    let short = Duration::from_millis(300);
    let timeouts = Timeouts::default().request(short).patience(short);
    let timeouts = timeouts.close_grace(short).kill_grace(short);
    let itself = env::current_exe().unwrap_or_default();
    let server = Server::command(itself).arg(fault).name("hostile").timeouts(timeouts);
    let client = Client::builder()
        .on_notification(|notification, context| {
            if notification.method() == "notifications/tools/list_changed" {
                let _ = context.client().list_tools();
            }
        })
        .open(server)?;
    let listed = match fault {
        "same-cursor" => client.list_tools().map(|tools| tools.len().to_string()),
        _ => call(&client, "first"),
    };
    Ok([listed, call(&client, "second")].map(|said| match said {
        Ok(text) => format!("ok: {text}"),
        Err(error) => in_short(&error),
    }))
}

/// More arguments than a pipe holds, for those that stop reading.
fn call(client: &Client, text: &str) -> Result<String> {
    let more = "x".repeat(200_000);
    let result = client.call_tool("echo", json!({ "message": text, "more": more }))?;
    let text = result.text();
    Ok(if text.len() < 20 { text } else { format!("{} bytes", text.len()) })
}

fn in_short(error: &umcp::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
