//! What a file says, JSON or TOML alike, with the line of everything.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::ops::Range;

use jsonc_parser::ast;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use serde_json::{Map, Number};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Fault;

/// How deep lists and tables may stand in one another.
const NESTING: usize = 128;

/// A value, and the line it begins in.
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) value: Value,
}

pub(super) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Table(Vec<Member>),
}

/// A name in a table, which can stand there twice.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) node: Node,
}

impl Node {
    pub(super) fn members(&self) -> Option<&[Member]> {
        match &self.value {
            Value::Table(members) => Some(members),
            _ => None,
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        let member = self.members()?.iter().find(|member| member.name == name)?;
        Some(&member.node)
    }

    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What it is, for errors, which show no values.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Table(_) => "an object",
        }
    }

    /// Of names that stand there twice, the last: those are problems of their own.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(yes) => (*yes).into(),
            Value::Number(number) => number.clone().into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Table(members) => to_json(members).into(),
        }
    }
}

pub(super) fn to_json(members: &[Member]) -> Map<String, serde_json::Value> {
    members.iter().map(|member| (member.name.clone(), member.node.to_json())).collect()
}

/// The first name that stands in a table twice, and the line of the first of both.
pub(super) fn twice(members: &[Member]) -> Option<(&Member, usize)> {
    let mut seen = HashMap::new();
    members.iter().find_map(|member| {
        seen.insert(member.name.as_str(), member.line).map(|first| (member, first))
    })
}

/// Finds the line of an offset.
struct Lines(Vec<usize>);

impl Lines {
    fn new(text: &str) -> Self {
        Self(
            text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect(),
        )
    }

    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }
}

fn too_deep(line: usize) -> Fault {
    Fault::new(line, "", format!("lists and objects stand deeper than {NESTING} in one another"))
}

/// JSON with comments and commas at the end of lists.
pub(super) fn json(text: &str) -> Result<Node, Fault> {
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = parse_to_ast(text, &CollectOptions::default(), &options).map_err(|error| {
        let (column, why) = (error.column_display(), error.kind());
        Fault::new(error.line_display(), "", format!("this is no JSON (column {column}): {why}"))
    })?;
    match parsed.value {
        Some(value) => from_json(value, &Lines::new(text), 0),
        None => Err(Fault::new(1, "", "the file is empty")),
    }
}

fn from_json(value: ast::Value<'_>, lines: &Lines, depth: usize) -> Result<Node, Fault> {
    use jsonc_parser::common::Ranged;
    let line = lines.at(value.range().start);
    if depth > NESTING {
        return Err(too_deep(line));
    }
    let value = match value {
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::BooleanLit(bool) => Value::Bool(bool.value),
        ast::Value::StringLit(text) => Value::Text(text.value.into_owned()),
        ast::Value::NumberLit(number) => match number.value.parse() {
            Ok(number) => Value::Number(number),
            Err(_) => return Err(Fault::new(line, "", "this is no number")),
        },
        ast::Value::Array(array) => {
            let items = array.elements.into_iter().map(|item| from_json(item, lines, depth + 1));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        ast::Value::Object(object) => {
            let members = object.properties.into_iter().map(|property| {
                let line = lines.at(property.range.start);
                let node = from_json(property.value, lines, depth + 1)?;
                Ok(Member { name: property.name.into_string(), line, node })
            });
            Value::Table(members.collect::<Result<_, _>>()?)
        }
    };
    Ok(Node { line, value })
}

pub(super) fn toml(text: &str) -> Result<Node, Fault> {
    let lines = Lines::new(text);
    let line_of = |span: Range<usize>| lines.at(span.start);
    let table = DeTable::parse(text).map_err(|error| {
        Fault::new(
            error.span().map_or(1, line_of),
            "",
            "this is no TOML, or a key stands there twice",
        )
    })?;
    Ok(Node { line: 1, value: from_table(table.into_inner(), &lines, 0)? })
}

fn from_table(table: DeTable<'_>, lines: &Lines, depth: usize) -> Result<Value, Fault> {
    let mut members: Vec<_> = table.into_iter().collect();
    // As they stand in the file.
    members.sort_by(|(one, _), (other, _)| match one.span().start.cmp(&other.span().start) {
        Ordering::Equal => one.as_ref().cmp(other.as_ref()),
        order => order,
    });
    let members = members.into_iter().map(|(name, value)| {
        let line = lines.at(name.span().start);
        let node = from_toml(value, lines, depth + 1)?;
        Ok(Member { name: name.into_inner().into_owned(), line, node })
    });
    Ok(Value::Table(members.collect::<Result<_, _>>()?))
}

fn from_toml(value: Spanned<DeValue<'_>>, lines: &Lines, depth: usize) -> Result<Node, Fault> {
    let line = lines.at(value.span().start);
    if depth > NESTING {
        return Err(too_deep(line));
    }
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Boolean(yes) => Value::Bool(yes),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Number(number.into()),
            Err(_) => return Err(Fault::new(line, "", "this number is too large")),
        },
        DeValue::Float(number) => match number.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => Value::Number(number),
            None => Value::Text(number.as_str().to_owned()),
        },
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Array(items) => {
            let items = items.into_iter().map(|item| from_toml(item, lines, depth + 1));
            Value::List(items.collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => from_table(table, lines, depth)?,
    };
    Ok(Node { line, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: &str = r#"// what people write
{
  "a": [1, 2.5, null, true,], /* two
  lines */ "b": {
    "c": "é", // accent
  },
}"#;

    const TOML: &str = "z = 1\n[a]\nb = [1.5, true]\n# note\n[a.\"c d\"]\nd = 1979-05-27\n";

    #[test]
    fn json_with_comments_knows_its_lines() {
        let node = json(JSON).unwrap();
        assert_eq!(
            node.to_json(),
            serde_json::json!({ "a": [1, 2.5, null, true], "b": { "c": "é" } })
        );
        let lines: Vec<_> = node.members().unwrap().iter().map(|member| member.line).collect();
        assert_eq!(lines, [3, 4]);
        assert_eq!(node.get("b").unwrap().get("c").unwrap().line, 5);
    }

    #[test]
    fn toml_knows_its_lines_and_its_order() {
        let node = toml(TOML).unwrap();
        let expected =
            serde_json::json!({ "z": 1, "a": { "b": [1.5, true], "c d": { "d": "1979-05-27" } } });
        assert_eq!(node.to_json(), expected);
        let names: Vec<_> = node.members().unwrap().iter().map(|member| &member.name).collect();
        assert_eq!(names, ["z", "a"]);
        assert_eq!(node.get("a").unwrap().members().unwrap()[1].line, 5);
    }

    #[test]
    fn what_is_malformed_says_where_and_quotes_nothing() {
        for text in
            ["{\n \"hunter2\": }", "{\n'hunter2': 1}", "{\"a\": 1,\nhunter2}", "{}\nhunter2"]
        {
            let fault = json(text).err().unwrap();
            assert_eq!(fault.line, 2, "{text}: {}", fault.what);
            assert!(!fault.what.contains("hunter2"), "{}", fault.what);
        }
        assert_eq!(json(" // nothing\n").err().unwrap().what, "the file is empty");
        for text in ["a = 1\na = 2", "a = 1\nb = hunter2", "a = 1\n[a]\n"] {
            let fault = toml(text).err().unwrap();
            assert_eq!(fault.line, 2, "{text}");
            assert!(!fault.what.contains("hunter2"), "{}", fault.what);
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(json(&deep(NESTING)).is_ok());
        for depth in [NESTING + 2, 600, 100_000] {
            assert!(json(&deep(depth)).is_err(), "{depth}");
            assert!(toml(&format!("a = {}", deep(depth))).is_err(), "{depth}");
        }
    }

    #[test]
    fn names_that_stand_there_twice_are_found() {
        let node = json("{\"a\": 1,\n\"b\": 2,\n\"a\": 3}").unwrap();
        let (member, first) = twice(node.members().unwrap()).unwrap();
        assert_eq!((member.name.as_str(), member.line, first), ("a", 3, 1));
    }
}
