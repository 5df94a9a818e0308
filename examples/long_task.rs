//! Calls that become tasks: followed to the end, handed out, found again by their id, answered.
//!
//! ```text
//! cargo run --example long_task
//! cargo run --example long_task -- npx -y @modelcontextprotocol/server-everything
//! ```
//!
//! A server without tasks, or without the tool, is called as ever.

mod support;

use std::time::Duration;

use umcp::protocol::ElicitResult;
use umcp::{CallToolResult, Client, Request, Result, TaskOrResult, json};

fn main() -> Result<()> {
    env_logger::init();
    let client = Client::builder()
        .tasks()
        .on_elicitation(|form, _| {
            println!("asked: {}", form.message);
            let title = ("title".to_owned(), json!("Quarterly report"));
            ElicitResult::accept([title].into_iter().collect())
        })
        .open(support::server())?;
    if !client.list_tools()?.iter().any(|tool| tool.name == "report") {
        println!("this server has no reports");
        return Ok(());
    }
    let report = |seconds: f64| client.tool("report").arg("seconds", seconds);

    // As any other call: that it becomes a task does not show. The server may ask on the way.
    println!("{}", report(0.1).call()?.into_result()?.text());

    // Handed out, to be waited for later, here or elsewhere.
    let Some(id) = hand_out(report(0.3))? else { return Ok(()) };
    let mut task = client.task(&id)?;
    let result = loop {
        match task.wait_timeout(Duration::from_millis(150))? {
            Some(result) => break result,
            None => println!("still at it: {:?}", task.latest().map(|task| &task.status)),
        }
    };
    println!("{}", result.into_result()?.text());

    // Not wanted any more.
    if let TaskOrResult::Task(mut task) = report(60.0).start_task()? {
        task.cancel()?;
        match task.wait() {
            Err(error) if error.is_cancelled() => println!("{error}"),
            result => println!("{}", result?.text()), // it was done before it heard
        }
    }
    Ok(())
}

/// Starts a task and returns its id: all that is needed to find it again.
fn hand_out(call: Request<'_, CallToolResult>) -> Result<Option<String>> {
    match call.start_task()? {
        TaskOrResult::Task(task) => {
            println!("the task has an id of {} characters", task.id().len());
            Ok(Some(task.id().to_owned()))
        }
        TaskOrResult::Result(result) => {
            println!("no task: {}", result.text());
            Ok(None)
        }
    }
}
