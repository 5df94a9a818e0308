//! What umcp says of each fault, in a file. With `UMCP_WRITE_SNAPSHOT` in the environment it is
//! written anew, to be read before it is committed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::{env, fs};

/// A file of what was said, and the comment at its top. The further lines of a text are indented.
pub struct Snapshot {
    pub file: &'static str,
    pub head: &'static str,
}

impl Snapshot {
    fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it").join(self.file)
    }

    pub fn read(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.path()).unwrap_or_default();
        let mut entries = BTreeMap::new();
        let mut key = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            match (line.split_once(": "), line.starts_with(' '), &key) {
                (Some((name, said)), false, _) => {
                    entries.insert(name.to_owned(), said.to_owned());
                    key = Some(name.to_owned());
                }
                (_, _, Some(key)) => _ = write!(entries.get_mut(key).unwrap(), "\n{line}"),
                (_, _, None) => panic!("a line of no fault: {line}"),
            }
        }
        entries
    }

    pub fn compare(&self, name: &str, said: &str) {
        static WRITING: Mutex<()> = Mutex::new(());
        let _one_at_a_time = WRITING.lock();
        let mut all = self.read();
        // How long it all took is not the same every time.
        let said = &match said.split_once(" (after ") {
            Some((before, after)) => before.to_owned() + after.split_once(')').unwrap().1,
            None => said.to_owned(),
        };
        if env::var_os("UMCP_WRITE_SNAPSHOT").is_none() {
            assert_eq!(Some(said.as_str()), all.get(name).map(String::as_str), "{name}");
            return;
        }
        all.insert(name.to_owned(), said.to_owned());
        let lines = all.iter().fold(self.head.to_owned() + "\n", |text, (name, said)| {
            text + &format!("{name}: {said}\n")
        });
        fs::write(self.path(), lines).unwrap();
    }
}
