//! Filling in variables, each dialect in its own way. What is filled in is not looked at again.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::path::{MAIN_SEPARATOR_STR, Path, PathBuf};
use std::sync::Arc;

use super::dialect::Expansion;
use super::fault::Fault;
use super::fields::Text;
use super::input::{Answers, Input};
use crate::error::said;

/// The longest text that filling in may make, in bytes.
const LONGEST_FILLED: usize = 1024 * 1024;

/// How many missing variables and inputs an error names.
const MOST_NAMES: usize = 5;

/// Where variables come from: this program's environment, or what the caller gave.
#[derive(Clone, Default)]
pub(super) struct Variables(Option<Arc<HashMap<String, OsString>>>);

impl Variables {
    pub(super) fn given(variables: HashMap<String, OsString>) -> Self {
        Self(Some(Arc::new(variables)))
    }

    pub(super) fn get(&self, name: &str) -> Option<OsString> {
        match &self.0 {
            None => env::var_os(name),
            Some(given) => given.get(name).cloned().or_else(|| {
                // Windows' names have no case.
                let mut all = given.iter();
                let found =
                    all.find(|(given, _)| cfg!(windows) && given.eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.clone())
            }),
        }
    }

    /// A directory that a variable names.
    pub(super) fn directory(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from).filter(|path| path.is_absolute())
    }
}

/// A part of a text.
#[derive(Debug, PartialEq)]
enum Piece<'a> {
    Plain(&'a str),
    Variable {
        name: &'a str,
        /// It stands without braces.
        is_bare: bool,
        default: Option<&'a str>,
    },
    Input(&'a str),
    Home,
    Root,
    RootName,
    Separator,
    /// Something that umcp cannot fill in.
    Unknown(&'a str),
}

/// Cuts a text into what stays and what is filled in.
fn pieces(text: &str, expansion: Expansion) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut rest, mut plain) = (text, text);
    let last = text.rfind('}').unwrap_or_default();
    let start = match expansion {
        Expansion::None => return vec![Piece::Plain(text)],
        Expansion::OpenCode => '{',
        _ => '$',
    };
    while let Some(at) = rest.find(start) {
        let here = rest.get(at..).unwrap_or_default();
        // Looked for no further than the last one, or a hostile text would take for ever.
        let is_closed = text.len() - here.len() < last;
        let braced = |open| if is_closed { braced(here, open, expansion) } else { None };
        let found = match expansion {
            Expansion::OpenCode => {
                braced(1).and_then(|(inside, length)| Some((open_code(inside)?, length)))
            }
            _ if here.starts_with("${") => {
                braced(2).and_then(|(inside, length)| Some((named(inside, expansion)?, length)))
            }
            Expansion::BracesAndBare => bare(here, 1),
            Expansion::BracesAndEnv if here.starts_with("$env:") => bare(here, "$env:".len()),
            _ => None,
        };
        let skipped = match found {
            Some((piece, length)) => {
                let before = plain.len() - here.len();
                pieces.push(Piece::Plain(plain.get(..before).unwrap_or_default()));
                pieces.push(piece);
                plain = here.get(length..).unwrap_or_default();
                length
            }
            None => start.len_utf8(),
        };
        rest = here.get(skipped..).unwrap_or_default();
    }
    pieces.push(Piece::Plain(plain));
    pieces.retain(|piece| *piece != Piece::Plain(""));
    pieces
}

/// What stands in braces, and the length of all that.
fn braced(text: &str, open: usize, expansion: Expansion) -> Option<(&str, usize)> {
    let inside = text.get(open..)?;
    // Only defaults have braces in them.
    let end = match expansion {
        Expansion::Env | Expansion::Editor | Expansion::OpenCode => {
            let end = inside.find(['{', '}'])?;
            inside.get(end..)?.starts_with('}').then_some(end)?
        }
        _ => inside.find('}')?,
    };
    Some((inside.get(..end)?, open + end + 1)).filter(|(inside, _)| !inside.is_empty())
}

/// A name without braces.
fn bare(text: &str, skip: usize) -> Option<(Piece<'_>, usize)> {
    let name = text.get(skip..)?;
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
    let name = name.get(..end).filter(|name| !name.is_empty())?;
    // `$5` is money.
    let is_name = !name.starts_with(|c: char| c.is_ascii_digit());
    is_name.then_some((Piece::Variable { name, is_bare: true, default: None }, skip + end))
}

fn open_code(inside: &str) -> Option<Piece<'_>> {
    match inside.split_once(':')? {
        ("env", name) => Some(Piece::Variable { name, is_bare: false, default: None }),
        ("file", _) => Some(Piece::Unknown(inside)),
        _ => None,
    }
}

/// What stands in `${}`. What is none of the dialect's forms stays as it is.
fn named(inside: &str, expansion: Expansion) -> Option<Piece<'_>> {
    if !matches!(expansion, Expansion::Env | Expansion::Editor) {
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        // Hosts disagree about what a variable in a default is.
        return Some(match default {
            Some(default) if default.contains("${") => Piece::Unknown(inside),
            _ => Piece::Variable { name, is_bare: false, default },
        });
    }
    match inside.split_once(':') {
        Some(("env", name)) => {
            return Some(Piece::Variable { name, is_bare: false, default: None });
        }
        _ if expansion == Expansion::Env => return None,
        Some(("input", id)) => return Some(Piece::Input(id)),
        _ => {}
    }
    match inside {
        "userHome" => Some(Piece::Home),
        "workspaceFolder" => Some(Piece::Root),
        "workspaceFolderBasename" => Some(Piece::RootName),
        "pathSeparator" | "/" => Some(Piece::Separator),
        _ => {
            let is_editors = inside.starts_with("file")
                || ["config:", "command:", "workspaceFolder:"]
                    .iter()
                    .any(|it| inside.starts_with(it));
            is_editors.then_some(Piece::Unknown(inside))
        }
    }
}

/// Fills in the texts of one entry.
pub(super) struct Filler<'a> {
    pub(super) expansion: Expansion,
    pub(super) variables: &'a Variables,
    pub(super) home: Option<PathBuf>,
    pub(super) root: &'a Path,
    /// The file, for those who remember answers.
    pub(super) file: &'a str,
    pub(super) inputs: &'a HashMap<String, Input>,
    pub(super) answers: &'a Answers,
    /// Whether its user may be asked now.
    pub(super) may_ask: bool,
    /// Whether something is not filled in, for it would have had to be asked for.
    pub(super) is_unasked: bool,
    /// What was not there: where it is named first, and its names.
    missing: Option<(Fault, Vec<String>)>,
}

impl<'a> Filler<'a> {
    pub(super) fn new(
        expansion: Expansion,
        variables: &'a Variables,
        root: &'a Path,
        file: &'a str,
        inputs: &'a HashMap<String, Input>,
        answers: &'a Answers,
    ) -> Self {
        let home = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        let home = variables.directory(home);
        Self {
            expansion,
            variables,
            home,
            root,
            file,
            inputs,
            answers,
            may_ask: true,
            is_unasked: false,
            missing: None,
        }
    }

    /// The text with everything filled in. What is missing is told at the end, all of it.
    pub(super) fn fill(&mut self, text: &Text) -> Result<String, Fault> {
        if text.is_name {
            return self.variable(text, &text.written, true, None);
        }
        let mut filled = String::new();
        for piece in pieces(&text.written, self.expansion) {
            match piece {
                Piece::Plain(plain) => filled.push_str(plain),
                Piece::Variable { name, is_bare, default } => {
                    filled.push_str(&self.variable(text, name, is_bare, default)?);
                }
                Piece::Input(id) => filled.push_str(&self.input(text, id)?),
                Piece::Home => match &self.home {
                    Some(home) => filled.push_str(&home.to_string_lossy()),
                    None => return Err(text.fault("nothing says where the home directory is")),
                },
                Piece::Root => filled.push_str(&self.root.to_string_lossy()),
                Piece::RootName => {
                    filled.extend(self.root.file_name().map(|name| name.to_string_lossy()));
                }
                Piece::Separator => filled.push_str(MAIN_SEPARATOR_STR),
                Piece::Unknown(what) => {
                    let what = match what.split_once(":-") {
                        // The default may be a secret.
                        Some((name, _)) => format!("the default of {}", called(name, false)),
                        None => format!("`{}`", said(what)),
                    };
                    return Err(text.fault(format!("umcp cannot fill in {what}: write it out")));
                }
            }
            if filled.len() > LONGEST_FILLED {
                let most = LONGEST_FILLED / 1024;
                return Err(text.fault(format!("filled in, this is longer than {most} KiB")));
            }
        }
        if filled.contains('\0') {
            return Err(text.fault("there is a NUL in what is filled in"));
        }
        Ok(filled)
    }

    fn variable(
        &mut self,
        text: &Text,
        name: &str,
        is_bare: bool,
        default: Option<&str>,
    ) -> Result<String, Fault> {
        match (self.variables.get(name), default) {
            (Some(value), _) => value
                .into_string()
                .map_err(|_| text.fault(format!("{} is not UTF-8", called(name, is_bare)))),
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Ok(self.miss(text, called(name, is_bare))),
        }
    }

    fn input(&mut self, text: &Text, id: &str) -> Result<String, Fault> {
        let unknown;
        let input = match self.inputs.get(id) {
            Some(input) => input,
            None => {
                unknown = Input::unknown(id);
                &unknown
            }
        };
        let variable = input.variable();
        // Who has set the variable does not want to be asked.
        let answer = match self.variables.get(&variable) {
            Some(value) => {
                let not_text = |_| text.fault(format!("the variable `{variable}` is not UTF-8"));
                Some(value.into_string().map_err(not_text)?)
            }
            None if self.answers.can_ask() && !self.may_ask => {
                self.is_unasked = true;
                return Ok(String::new());
            }
            None => self.answers.ask(self.file, input).or_else(|| input.default.clone()),
        };
        match answer {
            Some(answer) if !input.options.is_empty() && !input.options.contains(&answer) => {
                Err(text.fault(format!("the input `{}` is none of its options", said(id))))
            }
            Some(answer) => Ok(answer),
            None => {
                let what = format!("the input `{}` (or the variable `{variable}`)", said(id));
                Ok(self.miss(text, what))
            }
        }
    }

    fn miss(&mut self, text: &Text, what: String) -> String {
        let (_, names) = self.missing.get_or_insert_with(|| (text.fault(""), Vec::new()));
        // One more says that there are others.
        if names.len() <= MOST_NAMES && !names.contains(&what) {
            names.push(what);
        }
        String::new()
    }

    /// Fails if anything was missing.
    pub(super) fn finish(&mut self) -> Result<(), Fault> {
        let Some((mut fault, mut names)) = self.missing.take() else { return Ok(()) };
        if let Some(other) = names.get_mut(MOST_NAMES) {
            *other = "others".to_owned();
        }
        let (are, them) = if names.len() == 1 { ("is", "it") } else { ("are", "them") };
        fault.what = format!("{} {are} not set: set {them}", names.join(" and "));
        Err(fault)
    }
}

/// A variable, by its name, unless that looks like a secret which stands in its place.
fn called(name: &str, is_bare: bool) -> String {
    // `${env:V}` where the dialect has `${V}` is an easy mistake.
    let word = name.strip_prefix("env:").unwrap_or(name);
    let is_name = !word.starts_with(|c: char| c.is_ascii_digit())
        && (1..=64).contains(&word.len())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    // Outside of `${}`, any word could stand.
    match is_name && !(is_bare && name.contains(|c: char| c.is_ascii_lowercase())) {
        true => format!("the variable `{name}`"),
        false => "the variable that this names".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn cut(text: &str, expansion: Expansion) -> String {
        let shown = |piece| match piece {
            Piece::Plain(text) => text.to_owned(),
            Piece::Variable { name, default: None, .. } => format!("<{name}>"),
            Piece::Variable { name, default: Some(default), .. } => format!("<{name}|{default}>"),
            other => format!("<{other:?}>"),
        };
        pieces(text, expansion).into_iter().map(shown).collect()
    }

    #[test]
    fn each_dialect_has_its_own_forms() {
        use Expansion::*;
        let text = "a ${V} ${V:-d} $V ${env:V} $env:V {env:V} ${userHome} ${} ${x";
        for (expansion, expected) in [
            (None, text),
            (Braces, "a <V> <V|d> $V <env:V> $env:V {env:V} <userHome> ${} ${x"),
            (BracesAndBare, "a <V> <V|d> <V> <env:V> <env>:V {env:V} <userHome> ${} ${x"),
            (BracesAndEnv, "a <V> <V|d> $V <env:V> <V> {env:V} <userHome> ${} ${x"),
            (Env, "a ${V} ${V:-d} $V <V> $env:V {env:V} ${userHome} ${} ${x"),
            (Editor, "a ${V} ${V:-d} $V <V> $env:V {env:V} <Home> ${} ${x"),
            (OpenCode, "a ${V} ${V:-d} $V $<V> $env:V <V> ${userHome} ${} ${x"),
        ] {
            assert_eq!(cut(text, expansion), expected, "{expansion:?}");
        }
    }

    #[test]
    fn a_hostile_text_is_cut_in_time() {
        const MANY: usize = 2 * 1024 * 1024;
        let open = "${".repeat(MANY);
        let closed = format!("{open}}}");
        for (text, expansion) in [
            (open.clone(), Expansion::Braces),
            (open, Expansion::Editor),
            (closed, Expansion::Editor),
            ("{".repeat(MANY) + "}", Expansion::OpenCode),
        ] {
            let (done, finished) = mpsc::channel();
            thread::spawn(move || done.send(pieces(&text, expansion).len()));
            assert_eq!(finished.recv_timeout(Duration::from_secs(30)), Ok(1), "{expansion:?}");
        }
    }

    #[test]
    fn what_is_no_name_stays() {
        for text in ["$5 and 5$", "$", "$$", "${", "$ {V}", "é$é", ""] {
            assert_eq!(cut(text, Expansion::BracesAndBare), text);
        }
        assert_eq!(cut("$a$b-$c_1é", Expansion::BracesAndBare), "<a><b>-<c_1>é");
        assert_eq!(cut("${A:-}", Expansion::Braces), "<A|>");
        assert_eq!(cut("${A:-${B}}", Expansion::Braces), "<Unknown(\"A:-${B\")>}");
        assert_eq!(cut("${config:x}", Expansion::Editor), "<Unknown(\"config:x\")>");
        assert_eq!(cut("{file:~/x} {a}", Expansion::OpenCode), "<Unknown(\"file:~/x\")> {a}");
    }
}
