//! The guard against a host that is killed: a shell that is told the servers' process groups, and
//! kills those that are left when the pipe to it ends, as it does when this program dies in
//! whatever way.
//!
//! There is one for all guarded servers, as long as there are any. It learns of a server right after
//! its start, not before. A copy of this program that `fork` alone has made holds the pipe, too.
//!
//! The signal that Linux can send at a parent's death is no replacement: it is sent when the *thread*
//! dies that started the server, and spares what the server has started.

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Process;
use super::system::Group;

/// Nothing but what is built into the shell. A line that was cut off by the host's death counts as
/// none: `read` fails.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
groups=' '
while read -r what group; do
    case "$what$groups" in
        add*) groups="$groups$group " ;;
        remove*" $group "*) groups="${groups%% $group *} ${groups#* $group }" ;;
    esac
done
for group in $groups; do
    kill -s KILL -- "-$group"
done
"#;

static GUARD: Mutex<Guard> = Mutex::new(Guard { shares: 0, groups: Vec::new(), watcher: None });

struct Guard {
    /// How many servers are guarded, or about to be.
    shares: usize,
    groups: Vec<u32>,
    watcher: Option<Watcher>,
}

/// A server's share in the guard. It is given back before the leader of the server's group is
/// reaped, so that an id which is used again is never killed.
pub(super) struct Share {
    group: Option<u32>,
}

impl Share {
    /// Starts the watcher if there is none.
    pub(super) fn new() -> io::Result<Self> {
        let mut guard = lock();
        if guard.watcher.is_none() {
            guard.watcher = Some(Watcher::start(&guard.groups)?);
        }
        guard.shares += 1;
        Ok(Self { group: None })
    }

    pub(super) fn add(&mut self, group: u32) -> io::Result<()> {
        let mut guard = lock();
        self.group = Some(group);
        guard.groups.push(group);
        guard.tell("add", group)
    }

    /// The group's id is about to mean nothing.
    pub(super) fn remove(&mut self) {
        let Some(group) = self.group.take() else { return };
        let mut guard = lock();
        guard.groups.retain(|other| *other != group);
        // The last one's watcher ends with its share.
        if guard.shares > 1
            && let Err(error) = guard.tell("remove", group)
        {
            log::warn!("the guard for servers could not be started again: {error}");
        }
    }
}

/// Blocks until the watcher has ended, if this is the last share.
impl Drop for Share {
    fn drop(&mut self) {
        self.remove();
        let mut guard = lock();
        guard.shares = guard.shares.saturating_sub(1);
        let watcher = if guard.shares == 0 { guard.watcher.take() } else { None };
        drop(guard);
        if let Some(watcher) = watcher {
            watcher.end();
        }
    }
}

fn lock() -> MutexGuard<'static, Guard> {
    GUARD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Guard {
    /// A watcher that does not take a line (it was ended by somebody, or stopped until its pipe was
    /// full) is replaced by one that knows all groups. Ended first, and while others wait: it must not
    /// act on old ones.
    fn tell(&mut self, what: &str, group: u32) -> io::Result<()> {
        if self.watcher.as_ref().is_some_and(|watcher| watcher.tell(what, group).is_ok()) {
            return Ok(());
        }
        if let Some(watcher) = self.watcher.take() {
            watcher.end();
        }
        self.watcher = Some(Watcher::start(&self.groups)?);
        Ok(())
    }
}

struct Watcher {
    process: Process,
    stdin: ChildStdin,
}

impl Watcher {
    fn start(groups: &[u32]) -> io::Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C on the terminal is not for it.
            .process_group(0)
            .spawn()?;
        let stdin = child.stdin.take();
        let process = Process::new(child, Group::default());
        let Some(stdin) = stdin else {
            process.kill();
            return Err(io::Error::other("its stdin is no pipe"));
        };
        let watcher = Self { process, stdin };
        // A stopped watcher holds nobody.
        let told = rustix::io::ioctl_fionbio(&watcher.stdin, true)
            .map_err(io::Error::from)
            .and_then(|()| groups.iter().try_for_each(|group| watcher.tell("add", *group)));
        if let Err(error) = told {
            watcher.end();
            return Err(error);
        }
        Ok(watcher)
    }

    /// Never blocks. A line is shorter than `PIPE_BUF`, so it is written whole or not at all.
    fn tell(&self, what: &str, group: u32) -> io::Result<()> {
        (&self.stdin).write_all(format!("{what} {group}\n").as_bytes())
    }

    /// By force: there is nothing left to do for it.
    fn end(self) {
        self.process.kill();
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, ChildStdout, ExitStatus};
    use std::time::Duration;

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;
    use crate::deadline::Deadline;

    /// A process in a group of its own, and its stdout.
    fn cat() -> (Child, ChildStdout) {
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        (child, stdout)
    }

    /// One that was killed a moment ago may still be there, and answers no more.
    fn assert_alive((child, stdout): &mut (Child, ChildStdout)) {
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        stdout.read_exact(&mut [0]).unwrap();
    }

    fn was_killed(status: ExitStatus) -> bool {
        status.signal() == Some(Signal::KILL.as_raw())
    }

    #[test]
    fn what_was_added_and_not_removed_is_killed_at_the_end_of_the_pipe() {
        let [mut a, b, mut c, d] = [(); 4].map(|()| cat());
        let watcher = Watcher::start(&[a.0.id(), b.0.id(), d.0.id()]).unwrap();
        watcher.tell("add", c.0.id()).unwrap();
        watcher.tell("remove", b.0.id()).unwrap();
        watcher.tell("remove", b.0.id()).unwrap();
        watcher.tell("remove", d.0.id()).unwrap();
        // What is left of a line when the host dies while writing it.
        (&watcher.stdin).write_all(format!("add {}", b.0.id()).as_bytes()).unwrap();
        let Watcher { process, stdin } = watcher;
        drop(stdin);
        assert!(process.wait(Deadline::after(Duration::from_secs(30))));
        assert!(was_killed(a.0.wait().unwrap()) && was_killed(c.0.wait().unwrap()));
        for mut other in [b, d] {
            assert_alive(&mut other);
            assert!(other.0.wait().unwrap().success());
        }
    }

    /// The only test that uses the guard of this process.
    #[test]
    fn a_watcher_that_does_not_read_or_is_gone_is_replaced() {
        let watcher = || lock().watcher.as_ref().map(|watcher| watcher.process.id());
        // Ids that no process can have.
        let mut next = i32::MAX.cast_unsigned();
        let mut one_more = || {
            next -= 1;
            let mut share = Share::new().unwrap();
            share.add(next).unwrap();
            share
        };
        let id = |id: u32| Pid::from_raw(id.cast_signed()).unwrap();

        let first = one_more();
        let stopped = watcher().unwrap();
        kill_process(id(stopped), Signal::STOP).unwrap();
        while watcher() == Some(stopped) {
            drop(one_more());
        }
        let second = one_more();
        assert_eq!(lock().groups.len(), 2);

        let killed = watcher().unwrap();
        assert_ne!(killed, stopped);
        kill_process(id(killed), Signal::KILL).unwrap();
        assert!(lock().watcher.as_ref().is_some_and(|watcher| {
            watcher.process.wait(Deadline::after(Duration::from_secs(30)))
        }));
        // Its pipe is open for as long as a process that another test is just starting has it, too.
        let third = loop {
            let share = one_more();
            if watcher() != Some(killed) {
                break share;
            }
        };
        assert!(watcher().is_some());

        let counts = || {
            let guard = lock();
            (guard.groups.len(), guard.shares)
        };
        drop((first, second));
        assert_eq!(counts(), (1, 1));

        // A server that has ended is not killed when the host is.
        let [mut guarded, mut ended] = [(); 2].map(|()| cat());
        let [mut share, mut other] = [(); 2].map(|()| Share::new().unwrap());
        share.add(guarded.0.id()).unwrap();
        other.add(ended.0.id()).unwrap();
        drop(other);
        let Watcher { process, stdin } = lock().watcher.take().unwrap();
        drop(stdin);
        assert!(process.wait(Deadline::after(Duration::from_secs(30))));
        assert!(was_killed(guarded.0.wait().unwrap()));
        assert_alive(&mut ended);
        assert!(ended.0.wait().unwrap().success());

        drop((share, third));
        assert_eq!((counts(), watcher()), ((0, 0), None));
    }
}
