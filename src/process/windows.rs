//! Windows has neither process groups nor a request to end: the process itself is ended.

use std::process::{Child, Command};

use super::Poll;

pub(super) fn own_group(_command: &mut Command) {}

pub(super) fn poll(child: &mut Child) -> Poll {
    match child.try_wait() {
        Ok(None) => Poll::Running,
        _ => Poll::Ended,
    }
}

pub(super) fn terminate_group(child: &mut Child) {
    kill_group(child);
}

pub(super) fn kill_group(child: &mut Child) {
    // It fails when the process has already ended, which is what is wanted.
    let _ = child.kill();
}
