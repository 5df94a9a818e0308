//! Progress and log messages on stderr, while a call is waited for.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use umcp::{
    Client, Era, Error, ErrorKind, LogMessageParams, LoggingLevel, ProgressParams, Reply, Request,
};

use crate::cli::Meanwhile;
use crate::complain;
use crate::failure::Failure;
use crate::text::{clean, first_line};

/// The last line of the terminal shows progress, without a line break behind it.
static HAS_LINE: AtomicBool = AtomicBool::new(false);

/// Takes progress away from the terminal, to make room for what is said there.
pub(crate) fn clear_line() {
    if HAS_LINE.swap(false, Ordering::SeqCst) {
        let _ = io::stderr().write_all(b"\r\x1b[K");
    }
}

/// Makes a request, and shows what belongs to it meanwhile.
pub(crate) fn call<T: Reply>(
    client: &Client,
    meanwhile: &Meanwhile,
    mut request: Request<'_, T>,
) -> Result<T, Failure> {
    let is_terminal = io::stderr().is_terminal();
    if meanwhile.progress {
        request = request.on_progress(|progress| say(&progress_line(progress)));
    } else if is_terminal && !meanwhile.quiet {
        request = request.on_progress(|progress| show(&progress_line(progress)));
    }
    if let Some(level) = &meanwhile.log_level {
        request = request.on_log(|message| say(&log_line(message)));
        match client.protocol_version().era() {
            Era::Legacy => ask_for_log(client, level)?,
            _ => request = request.log_level(level.clone()),
        }
    }
    let result = request.call();
    clear_line();
    Ok(result?)
}

/// Sets a legacy server's level. What cannot be had is not worth failing for.
pub(crate) fn ask_for_log(client: &Client, level: &LoggingLevel) -> Result<(), Error> {
    let Err(error) = client.set_log_level(level.clone()) else { return Ok(()) };
    match error.kind() {
        ErrorKind::Unsupported => {
            complain(&format!("{}: the server has no log to ask for", client.server_name()));
            Ok(())
        }
        ErrorKind::Rpc | ErrorKind::Timeout => {
            complain(&Failure::from(error).text);
            Ok(())
        }
        _ => Err(error),
    }
}

/// Writes a line to stderr. A server's text cannot drive the terminal, and is exact in a pipe.
fn say(line: &str) {
    clear_line();
    let mut stderr = io::stderr();
    let cleaned = stderr.is_terminal().then(|| clean(line));
    let _ = writeln!(stderr, "{}", cleaned.as_deref().unwrap_or(line));
}

/// Shows a line on the terminal, until there is another.
fn show(line: &str) {
    // One that wraps could not be taken away. Nobody knows the width; few are narrower.
    const WIDEST: usize = 79;
    let line: String = clean(line).chars().take(WIDEST).collect();
    clear_line();
    let _ = io::stderr().write_all(line.as_bytes());
    HAS_LINE.store(true, Ordering::SeqCst);
}

/// `3/10 indexing`
pub(crate) fn progress_line(progress: &ProgressParams) -> String {
    let mut line = progress.progress.to_string();
    if let Some(total) = progress.total {
        line += &format!("/{total}");
    }
    if let Some(message) = progress.message.as_deref().map(first_line) {
        line += &format!(" {message}");
    }
    line
}

/// `info countdown: step 1 of 3`
pub(crate) fn log_line(message: &LogMessageParams) -> String {
    let logger = message.logger.as_ref().map(|logger| format!(" {logger}")).unwrap_or_default();
    let data = message.data.as_str().map_or_else(|| message.data.to_string(), str::to_owned);
    format!("{}{logger}: {data}", message.level)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn progress_and_log_messages_are_lines() {
        for (progress, line) in [
            (json!({"progressToken": 1, "progress": 3}), "3"),
            (json!({"progressToken": 1, "progress": 0.5, "total": 1.0}), "0.5/1"),
            (json!({"progressToken": 1, "progress": 3, "total": 10, "message": "a\nb"}), "3/10 a"),
        ] {
            assert_eq!(progress_line(&from_value(progress).unwrap()), line);
        }
        for (message, line) in [
            (json!({"level": "info", "data": "text"}), "info: text"),
            (json!({"level": "loud", "logger": "db", "data": {"a": 1}}), "loud db: {\"a\":1}"),
        ] {
            assert_eq!(log_line(&from_value(message).unwrap()), line);
        }
    }
}
