//! Remembering what era a server speaks, so that the next connection need not find out.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::error::misfit;
use crate::protocol::Era;

/// A place to remember what [`Era`] each server speaks, for as long as it likes.
///
/// Finding out can cost time with a legacy server: a second or more if it ignores the question, a
/// second start if it dies of it. [`ClientBuilder::era_memory`](crate::ClientBuilder::era_memory)
/// takes a memory, and what is remembered is never binding: a server that has changed is asked
/// again within the same opening. [`EraFile`] remembers in a file; anything else can, too:
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex};
/// use umcp::{Client, Era, EraMemory};
/// # use umcp::memory::Script;
///
/// #[derive(Default)]
/// struct Remembered(Mutex<HashMap<String, Era>>);
///
/// impl EraMemory for Remembered {
///     fn recall(&self, server: &str) -> Option<Era> {
///         self.0.lock().unwrap().get(server).copied()
///     }
///     fn remember(&self, server: &str, era: Era) {
///         self.0.lock().unwrap().insert(server.to_owned(), era);
///     }
///     fn forget(&self, server: &str) {
///         self.0.lock().unwrap().remove(server);
///     }
/// }
///
/// let memory = Arc::new(Remembered::default());
/// # let server = Script::new().server().name("mine");
/// let client = Client::builder().era_memory(memory.clone()).open(server)?;
/// assert_eq!(memory.0.lock().unwrap().len(), 1);
/// # Ok::<(), umcp::Error>(())
/// ```
///
/// A server is named by a short text for people and a hash. The hash is made of the command, its
/// arguments, the directory it starts in and the *names* of the variables it is given, or of the
/// URL without its query. It shows none of them; but as with any hash, a guess at an argument can
/// be checked against it. The same server has the same name in every run and every release.
///
/// The methods run on the thread that opens the client. No clock of the client's can end them.
pub trait EraMemory: Send + Sync {
    /// Returns the era the server had, if it is known.
    fn recall(&self, server: &str) -> Option<Era>;

    /// Remembers the era that the server was found to speak.
    fn remember(&self, server: &str, era: Era);

    /// Forgets the server's era: what was recalled did not lead to a connection.
    fn forget(&self, server: &str);
}

/// One memory for many clients.
impl<M: EraMemory + ?Sized> EraMemory for Arc<M> {
    fn recall(&self, server: &str) -> Option<Era> {
        (**self).recall(server)
    }

    fn remember(&self, server: &str, era: Era) {
        (**self).remember(server, era);
    }

    fn forget(&self, server: &str) {
        (**self).forget(server);
    }
}

/// An [`EraMemory`] in a small file of JSON, for programs that run often and briefly.
///
/// Nothing that is wrong with the file fails an opening: it says so in the log (`debug`), and the
/// era is found out as without it. A file that is not what it should be counts as empty and is
/// replaced. Processes may share it: it is always replaced as a whole, and the last one wins. It
/// holds the 256 servers that were found out last, each for 30 days, so that a server which has
/// learnt the modern era is not spoken to in the legacy one for ever.
///
/// ```
/// use umcp::{Client, EraFile};
/// # use umcp::memory::Script;
///
/// # let server = Script::new().server().name("mine");
/// # let path = std::env::temp_dir().join(format!("umcp-doc-{}.json", std::process::id()));
/// let client = Client::builder().era_memory(EraFile::new(&path)).open(server)?;
/// # assert!(std::fs::read_to_string(&path).unwrap().contains("modern"));
/// # std::fs::remove_file(&path).unwrap();
/// # Ok::<(), umcp::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct EraFile {
    path: PathBuf,
}

/// What stands in the file, by the server's name.
type Entries = BTreeMap<String, Entry>;

#[derive(Serialize, Deserialize)]
struct Entry {
    /// A word, so that one that is not known yet costs its own entry only.
    era: String,
    /// Seconds since 1970.
    found: u64,
}

impl EraFile {
    const MOST_SERVERS: usize = 256;
    const MOST_BYTES: u64 = 256 * 1024;
    const MOST_SECONDS: u64 = 30 * 24 * 60 * 60;

    /// A memory in this file. The file and its directory need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn load(&self) -> Entries {
        self.read().unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                log::debug!("{}: counts as empty: {error}", self.path.display());
            }
            Entries::new()
        })
    }

    fn read(&self) -> io::Result<Entries> {
        // Opening something else, such as a FIFO, could take for ever.
        if !fs::metadata(&self.path)?.is_file() {
            return Err(io::Error::other("not a file"));
        }
        let mut text = Vec::new();
        File::open(&self.path)?.take(Self::MOST_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > Self::MOST_BYTES {
            return Err(io::Error::other("too large"));
        }
        serde_json::from_slice(&text).map_err(|error| io::Error::other(misfit(&error)))
    }

    fn store(&self, entries: &Entries) {
        if let Err(error) = self.write(entries) {
            log::debug!("{}: not written: {error}", self.path.display());
        }
    }

    /// Others see the file as it was or as it will be. It is not worth waiting for the disk.
    fn write(&self, entries: &Entries) -> io::Result<()> {
        let name = self.path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut temporary = name.to_owned();
        temporary.push(format!(".{}-{}.tmp", process::id(), since_1970().as_nanos()));
        let temporary = self.path.with_file_name(temporary);
        fs::create_dir_all(self.path.parent().unwrap_or(Path::new("")))?;
        let text = serde_json::to_vec(entries)?;
        let mut file = private().open(&temporary)?;
        let written = file.write_all(&text).and_then(|()| {
            drop(file);
            fs::rename(&temporary, &self.path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }
}

impl EraMemory for EraFile {
    fn recall(&self, server: &str) -> Option<Era> {
        let entry = self.load().remove(server)?;
        let age = since_1970().as_secs().checked_sub(entry.found)?;
        let era = [Era::Legacy, Era::Modern].into_iter().find(|era| era.to_string() == entry.era);
        era.filter(|_| age <= Self::MOST_SECONDS)
    }

    fn remember(&self, server: &str, era: Era) {
        let mut entries: Vec<_> = self.load().into_iter().collect();
        entries.sort_by_key(|(_, entry)| Reverse(entry.found));
        entries.truncate(Self::MOST_SERVERS - 1);
        let mut entries: Entries = entries.into_iter().collect();
        let entry = Entry { era: era.to_string(), found: since_1970().as_secs() };
        entries.insert(server.to_owned(), entry);
        self.store(&entries);
    }

    fn forget(&self, server: &str) {
        let mut entries = self.load();
        if entries.remove(server).is_some() {
            self.store(&entries);
        }
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// How to make a file that only its owner can read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The name of a server in a memory: a label that is no secret, and a hash of all that tells the
/// server from others.
pub(super) fn name_of(label: &str, parts: &[Cow<'_, str>]) -> String {
    const LONGEST: usize = 64;
    /// No text has this byte, so other parts do not look the same.
    const END: u8 = 0xff;
    let label: String = label.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(part.as_bytes());
        bytes.push(END);
    }
    format!("{label} {:08x}", fnv1a(&bytes))
}

/// The same in every release, which std's hashes need not be. Two servers with one hash cost each
/// other a probe, so 32 bits are enough; and they say the less about arguments that are secrets.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::client::Server;
    use crate::limits::Limits;
    use crate::protocol::ProtocolVersion;

    /// A directory that is removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicUsize = AtomicUsize::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("umcp-eras-{}-{number}", process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn file(&self) -> PathBuf {
            self.0.join("eras.json")
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn entry(server: &str, era: &str, found: u64) -> String {
        format!(r#""{server}":{{"era":"{era}","found":{found},"new":1}}"#)
    }

    // ERA-40
    #[test]
    fn a_file_remembers_across_runs() {
        let folder = Folder::new();
        let path = folder.0.join("not/yet/there/eras.json");
        EraFile::new(&path).remember("a", Era::Legacy);
        EraFile::new(&path).remember("b", Era::Modern);
        let file = EraFile::new(&path);
        assert_eq!(file.recall("a"), Some(Era::Legacy));
        assert_eq!(file.recall("b"), Some(Era::Modern));
        assert_eq!(file.recall("c"), None);
        file.remember("a", Era::Modern);
        file.forget("b");
        assert_eq!((file.recall("a"), file.recall("b")), (Some(Era::Modern), None));
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap());
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "it left something");
        // What is not there need not be forgotten.
        let missing = folder.file();
        EraFile::new(&missing).forget("a");
        assert!(!missing.exists());
    }

    #[test]
    fn a_file_that_is_wrong_counts_as_empty_and_is_replaced() {
        let folder = Folder::new();
        let file = EraFile::new(folder.file());
        let now = since_1970().as_secs();
        let good = format!("{{{}}}", entry("a", "legacy", now));
        let huge = good.clone() + &" ".repeat(EraFile::MOST_BYTES as usize);
        let deep = "[".repeat(100_000);
        for text in [
            "",
            " ",
            "{",
            "[]",
            "null",
            "\u{0}",
            r#"{"a":1}"#,
            r#"{"a":{"era":"legacy"}}"#,
            &deep,
            &huge,
        ] {
            fs::write(folder.file(), text).unwrap();
            assert_eq!(file.recall("a"), None);
            file.forget("a");
            file.remember("b", Era::Modern);
            assert_eq!((file.recall("a"), file.recall("b")), (None, Some(Era::Modern)));
        }
        fs::write(folder.file(), b"\xff\xfe").unwrap();
        assert_eq!(file.recall("a"), None);
        // What a newer umcp has written costs no more than it must.
        let newer = format!("{{{},{}}}", entry("n", "newest", now), entry("a", "legacy", now));
        fs::write(folder.file(), newer).unwrap();
        assert_eq!((file.recall("n"), file.recall("a")), (None, Some(Era::Legacy)));
    }

    #[test]
    fn a_file_that_cannot_be_does_no_harm() {
        let folder = Folder::new();
        fs::write(folder.file(), "no directory").unwrap();
        let directory = folder.0.join("directory");
        fs::create_dir(&directory).unwrap();
        let paths = [folder.file().join("eras.json"), directory, "/".into(), "".into()];
        for path in paths {
            let file = EraFile::new(&path);
            file.remember("a", Era::Legacy);
            assert_eq!(file.recall("a"), None, "{}", path.display());
            file.forget("a");
        }
        let mut names = folder.names();
        names.sort();
        assert_eq!(names, ["directory", "eras.json"]);
    }

    // Opening it would wait for somebody to write.
    #[cfg(unix)]
    #[test]
    fn a_fifo_in_its_place_holds_nobody() {
        let folder = Folder::new();
        let fifo = folder.file();
        assert!(process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let (done, finished) = crossbeam_channel::bounded(1);
        std::thread::spawn(move || done.send(EraFile::new(fifo).recall("a")));
        assert_eq!(finished.recv_timeout(Duration::from_secs(30)), Ok(None));
    }

    #[test]
    fn only_so_many_servers_are_remembered() {
        let folder = Folder::new();
        let file = EraFile::new(folder.file());
        let now = since_1970().as_secs();
        let many = (0..1000).map(|n| entry(&format!("server {n:04}"), "legacy", now - 2000 + n));
        fs::write(folder.file(), format!("{{{}}}", many.collect::<Vec<_>>().join(","))).unwrap();
        file.remember("new", Era::Modern);
        assert_eq!(file.load().len(), EraFile::MOST_SERVERS);
        let recalled = ["new", "server 0999", "server 0745", "server 0744"].map(|s| file.recall(s));
        assert_eq!(recalled, [Some(Era::Modern), Some(Era::Legacy), Some(Era::Legacy), None]);
    }

    #[test]
    fn a_verdict_does_not_last_for_ever() {
        let folder = Folder::new();
        let file = EraFile::new(folder.file());
        let (now, days) = (since_1970().as_secs(), 24 * 60 * 60);
        for (found, recalled) in [
            (now - 29 * days, Some(Era::Legacy)),
            (now - 31 * days, None),
            // By a clock that was wrong.
            (now + days, None),
            (0, None),
            (u64::MAX, None),
        ] {
            fs::write(folder.file(), format!("{{{}}}", entry("a", "legacy", found))).unwrap();
            assert_eq!(file.recall("a"), recalled, "{found}");
        }
    }

    // Elsewhere a file that is being replaced may not be there for a moment, which costs a probe.
    #[cfg(unix)]
    #[test]
    fn whoever_reads_sees_a_whole_file() {
        let folder = Folder::new();
        let file = EraFile::new(folder.file());
        file.remember("always", Era::Legacy);
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers = [1, 2, 3].map(|writer| {
                let file = &file;
                scope.spawn(move || {
                    for round in 0..100 {
                        file.remember(&format!("{writer} {round}"), Era::Modern);
                    }
                })
            });
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let text = fs::read(folder.file()).unwrap();
                    serde_json::from_slice::<Entries>(&text).unwrap();
                }
            });
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(file.recall("always"), Some(Era::Legacy));
        assert_eq!(folder.names(), ["eras.json"]);
    }

    // ERA-41
    #[test]
    fn a_server_is_named_by_what_tells_it_from_others_and_by_no_secret() {
        let base = || Server::command("npx").args(["-y", "@scope/x", "hunter2"]).cwd("/srv");
        let name = |server: Server| server.name_in_memory().unwrap();
        let same = [
            base(),
            base().name("mine"),
            base().limits(Limits::default().pages(1)),
            base().version(ProtocolVersion::V2024_11_05),
        ];
        for server in same {
            assert_eq!(name(server), name(base()));
        }
        let mut names = vec![
            name(base()),
            name(Server::command("npx2").args(["-y", "@scope/x", "hunter2"]).cwd("/srv")),
            name(Server::command("npx2").args(["-y", "@scope/x", "hunter", "2"]).cwd("/srv")),
            name(Server::command("npx").args(["-y", "@scope/x", "hunter2"])),
            name(Server::command("npx").args(["-y", "@scope/x", "hunter2"]).cwd("srv")),
            name(base().arg("hunter3")),
            name(base().arg("")),
            name(base().env("SECRET", "hunter2")),
            name(base().env("SECRET", "hunter2").env("OTHER", "x")),
            name(base().env_remove("SECRET")),
            name(base().args(["set", "SECRET"])),
            name(base().inherit_env()),
            name(Server::url("https://example.com/mcp/hunter2")),
            name(Server::url("https://example.com/mcp")),
            name(Server::url("https://example.com:444/mcp")),
            name(Server::url("http://example.com/mcp")),
        ];
        for name in &names {
            assert!(!name.contains("hunter"), "{name}");
            let (label, hash) = name.rsplit_once(' ').unwrap();
            assert!(matches!(label, "@scope/x" | "npx2") || label.contains("://example.com"));
            assert_eq!(hash.len(), 8);
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 16);
        // Values of variables and what stands beside a URL's path may change.
        let values = ["hunter2", "other"].map(|value| name(base().env("SECRET", value)));
        assert_eq!(values[0], values[1]);
        let secret = Server::url("https://me:hunter2@example.com/mcp?key=hunter2#hunter2");
        assert_eq!(name(secret), name(Server::url("https://example.com/mcp")));
    }

    #[test]
    fn a_name_is_the_same_in_every_release() {
        assert_eq!(
            [fnv1a(b""), fnv1a(b"a"), fnv1a(b"foobar")],
            [0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968]
        );
        let name = Server::url("https://example.com/mcp").name_in_memory().unwrap();
        assert_eq!(name, "https://example.com 686aca95");
        let name = name_of(&"\u{1b}[31m\n☃".repeat(100), &["x".into()]);
        assert!(!name.contains(char::is_control) && name.chars().count() == 64 + 9, "{name}");
    }

    #[test]
    fn what_is_reached_through_code_is_known_by_its_name_only() {
        let server = Server::in_memory(|_| ());
        assert_eq!(server.name_in_memory(), None);
        assert!(server.name("mine").name_in_memory().unwrap().starts_with("mine "));
    }
}
