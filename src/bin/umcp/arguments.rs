//! `key=value`, `key:=json`, `key=@file`, `key:=@file` and `--args`.

use std::fmt;
use std::fs;
use std::io;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::error::Category;
use umcp::RawJson;

use crate::failure::Failure;
use crate::schema;

/// One argument, as it stands on the command line.
#[derive(Debug, PartialEq)]
pub(crate) struct Argument {
    pub(crate) name: String,
    pub(crate) value: Given,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Given {
    /// To be typed by the tool's schema.
    Text(String),
    Json(RawJson),
}

/// Reads the arguments on a command line, and the files they name.
pub(crate) fn parse(words: &[String]) -> Result<Vec<Argument>, Failure> {
    let mut arguments: Vec<Argument> = Vec::new();
    for word in words {
        let argument = Argument::parse(word)?;
        if arguments.iter().any(|other| other.name == argument.name) {
            return Err(argument.wrong("it is given twice"));
        }
        arguments.push(argument);
    }
    Ok(arguments)
}

impl Argument {
    fn parse(word: &str) -> Result<Self, Failure> {
        let Some((name, text)) = word.split_once('=') else {
            let text = format_args!("`{word}` is neither key=value nor key:=json");
            return Err(Failure::usage(text));
        };
        let (name, is_json) = name.strip_suffix(':').map_or((name, false), |name| (name, true));
        if name.is_empty() {
            return Err(Failure::usage(format_args!("`{word}` has no name before the `=`")));
        }
        let name = name.to_owned();
        let new = |value| Self { name: name.clone(), value };
        let wrong = |why: String| new(Given::Text(String::new())).wrong(why);
        let text = match text.strip_prefix('@') {
            Some(literal) if literal.starts_with('@') && !is_json => literal.to_owned(),
            Some(file) => fs::read_to_string(file)
                .map_err(|error| wrong(format!("file `{file}`: {error}")))?,
            None => text.to_owned(),
        };
        if !is_json {
            return Ok(new(Given::Text(text)));
        }
        let json = RawJson::from_string(text).map_err(|error| wrong(no_json(&error)))?;
        Ok(new(Given::Json(json)))
    }

    /// The argument as JSON. Without a schema all names are known, and text is text.
    pub(crate) fn typed(&self, schema: Option<&Value>) -> Result<RawJson, Failure> {
        let schema = schema.unwrap_or(&Value::Null);
        let allowed = schema::argument(schema, &self.name).map_err(Failure::usage)?;
        match &self.value {
            Given::Text(text) => allowed.read(text).map_err(|why| self.wrong(why)),
            Given::Json(json) => Ok(json.clone()),
        }
    }

    /// The argument as text, which is all that prompts take.
    pub(crate) fn text(&self) -> Result<&str, Failure> {
        match &self.value {
            Given::Text(text) => Ok(text),
            Given::Json(_) => Err(self.wrong("a prompt takes text: write it key=value")),
        }
    }

    fn wrong(&self, why: impl fmt::Display) -> Failure {
        Failure::usage(format_args!("argument `{}`: {why}", self.name))
    }
}

/// The object that `--args` gives: JSON, or `-` for stdin.
pub(crate) fn base(args: Option<&str>) -> Result<Members, Failure> {
    let wrong = |why: &dyn fmt::Display| Failure::usage(format_args!("`--args`: {why}"));
    let text = match args {
        None => return Ok(Members::default()),
        Some("-") => io::read_to_string(io::stdin()).map_err(|error| wrong(&error))?,
        Some(text) => text.to_owned(),
    };
    let json = RawJson::from_string(text).map_err(|error| wrong(&no_json(&error)))?;
    let members: Members = json.parse().map_err(|error| match kind(&json) {
        "an object" => wrong(&no_json(&error)),
        kind => wrong(&format_args!("it is {kind}, not an object such as {{\"key\": 1}}")),
    })?;
    match members.duplicate() {
        Some(name) => Err(wrong(&format_args!("`{name}` is given twice"))),
        None => Ok(members),
    }
}

fn kind(json: &RawJson) -> &'static str {
    match json.get().trim_start().bytes().next() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// What is wrong with it, and where: `no JSON: expected value at line 1, column 5`.
fn no_json(error: &serde_json::Error) -> String {
    let (line, column, text) = (error.line(), error.column(), error.to_string());
    let what = match error.classify() {
        Category::Eof => "it ends too early",
        _ => text.split(" at line ").next().unwrap_or_default(),
    };
    format!("no JSON: {what} (line {line}, column {column})")
}

/// The members of a JSON object, in their order and with their own spelling.
#[derive(Debug, Default)]
pub(crate) struct Members(Vec<(String, RawJson)>);

impl Members {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(String, RawJson)> {
        self.0.iter()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.iter().any(|(known, _)| known == name)
    }

    /// Adds a member, or replaces it.
    pub(crate) fn set(&mut self, name: &str, value: RawJson) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some(member) => member.1 = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    fn duplicate(&self) -> Option<&str> {
        let mut names: Vec<&str> = self.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.windows(2).find_map(|pair| match pair {
            [one, other] if one == other => Some(*one),
            _ => None,
        })
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;

        impl<'de> Visitor<'de> for All {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str, text: &str) -> Argument {
        Argument { name: name.to_owned(), value: Given::Text(text.to_owned()) }
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_first_equals_sign_counts() {
        for (word, expected) in [
            ("a=b", text("a", "b")),
            ("a=", text("a", "")),
            ("a=b=c", text("a", "b=c")),
            ("a=b:=c", text("a", "b:=c")),
            ("a:b=c", text("a:b", "c")),
            ("a=@@b", text("a", "@b")),
            ("a=@@@b", text("a", "@@b")),
        ] {
            assert_eq!(Argument::parse(word).unwrap(), expected, "{word}");
        }
        let json = Argument::parse(r#"a:={"b": 1.0}"#).unwrap();
        assert!(matches!(json.value, Given::Json(json) if json.get() == r#"{"b": 1.0}"#));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (given, expected) in [
            (&["a"][..], "`a` is neither key=value nor key:=json"),
            (&["=b"], "`=b` has no name before the `=`"),
            (&[":=1"], "`:=1` has no name before the `=`"),
            (&["a=1", "b=2", "a:=3"], "argument `a`: it is given twice"),
        ] {
            let failure = parse(&words(given)).unwrap_err();
            assert_eq!((failure.status, failure.text.as_str()), (1, expected));
        }
        for word in ["a:=", "a:=b", "a:=1 2", "a:=@@b", "a=@/no/such/file"] {
            let failure = Argument::parse(word).unwrap_err();
            assert!(failure.text.starts_with("argument `a`: "), "{}", failure.text);
        }
    }

    #[test]
    fn the_base_is_kept_as_it_is_written() {
        let mut members = base(Some(r#"{"b": 1.50, "a": {"x":1,"x":2}}"#)).unwrap();
        members.set("b", RawJson::from_string("2".to_owned()).unwrap());
        members.set("c", RawJson::from_string("3".to_owned()).unwrap());
        let written = serde_json::to_string(&members).unwrap();
        assert_eq!(written, r#"{"b":2,"a":{"x":1,"x":2},"c":3}"#);
        for args in ["", "[]", "5", "{", "{}x", r#"{"a":1,"b":2,"a":1}"#] {
            assert!(base(Some(args)).unwrap_err().text.starts_with("`--args`: "), "{args}");
        }
    }
}
