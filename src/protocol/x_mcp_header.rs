//! `x-mcp-header`: arguments of a tool that are said in headers, too.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::header_value::header_value;
use super::{RawJson, lenient};
use crate::error::{misfit, said};

/// One argument that is said in a header, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeaderParam {
    /// The names of properties that lead to it.
    path: Vec<String>,
    /// The header's name, after `Mcp-Param-`.
    name: String,
}

/// How much the annotations of one tool may take, in bytes: more than any server reads of headers.
const MOST: usize = 32 * 1024;

impl HeaderParam {
    /// About what it takes in memory.
    pub(crate) fn len(&self) -> usize {
        cost(&self.name, self.path.iter().map(String::as_str))
    }
}

fn cost<'a>(name: &str, path: impl Iterator<Item = &'a str>) -> usize {
    const EACH: usize = size_of::<String>();
    2 * EACH + name.len() + path.map(|key| EACH + key.len()).sum::<usize>()
}

/// The annotations in the schema of a tool's arguments, or why the tool is not to be used.
pub(crate) fn header_params(schema: &RawJson) -> Result<Vec<HeaderParam>, String> {
    // Most tools have none. An escape may hide one.
    if !schema.get().contains(ANNOTATION) && !schema.get().contains("\\u") {
        return Ok(Vec::new());
    }
    let mut found = Found::default();
    let mut json = serde_json::Deserializer::from_str(schema.get());
    let walked = Place { holds: Holds::Schema, path: Path::Root, found: &mut found };
    match (walked.deserialize(&mut json), found.problem) {
        (_, Some(problem)) => Err(problem),
        (Err(error), None) => Err(format!("its schema cannot be read: {}", misfit(&error))),
        (Ok(()), None) => Ok(found.params),
    }
}

/// The headers for a call with these arguments, or what is wrong with the arguments.
pub(crate) fn headers(
    params: &[HeaderParam],
    arguments: Option<&RawJson>,
) -> Result<Vec<(String, String)>, String> {
    let Some(arguments) = arguments else { return Ok(Vec::new()) };
    let mut headers = Vec::new();
    for HeaderParam { path, name } in params {
        // XHDR-16
        let Some(json) = value_at(arguments.get(), path).filter(|json| *json != "null") else {
            continue;
        };
        let value = text_of(json).ok_or_else(|| {
            let path = said(&path.join("."));
            format!(
                "the server wants the argument {path:?} in a header: a string, a boolean, or an \
                 integer of at most 53 bits"
            )
        })?;
        headers.push((format!("Mcp-Param-{name}"), header_value(&value)));
    }
    Ok(headers)
}

/// XHDR-15: what stands at the end of the path, if all of the path is there.
fn value_at<'a>(arguments: &'a str, path: &[String]) -> Option<&'a str> {
    path.iter().try_fold(arguments, |json, key| {
        let mut members: HashMap<String, &RawValue> = serde_json::from_str(json).ok()?;
        members.remove(key).map(RawValue::get)
    })
}

/// XHDR-18, XHDR-19
fn text_of(json: &str) -> Option<String> {
    // XHDR-8
    const SAFE: i64 = (1 << 53) - 1;
    match json.as_bytes().first()? {
        b'"' => serde_json::from_str(json).ok(),
        b't' | b'f' => Some(json.to_owned()),
        b'-' | b'0'..=b'9' => {
            let number = json.parse().ok().or_else(|| lenient::whole(json.parse().ok()?))?;
            (-SAFE..=SAFE).contains(&number).then(|| number.to_string())
        }
        _ => None,
    }
}

const ANNOTATION: &str = "x-mcp-header";

/// A place in a schema, which is walked as it is read: however large it is, nothing is kept but
/// the annotations. `serde_json` bounds the depth.
struct Place<'w> {
    holds: Holds,
    path: Path<'w>,
    found: &'w mut Found,
}

enum Holds {
    /// A schema, or an array of them.
    Schema,
    /// Schemas by name.
    Schemas,
    /// Schemas by the name of the property that they describe.
    Properties,
}

/// What leads to a schema.
#[derive(Clone, Copy)]
enum Path<'p> {
    Root,
    Property(&'p str, &'p Path<'p>),
    /// More than names of properties.
    Otherwise,
}

impl Path<'_> {
    /// The names, if they are all it takes. None lead to the root, which is no property.
    fn names(&self) -> Option<Vec<&str>> {
        let mut names = Vec::new();
        let mut here = self;
        loop {
            match here {
                Path::Property(name, above) => {
                    names.push(*name);
                    here = above;
                }
                Path::Root if !names.is_empty() => break,
                Path::Root | Path::Otherwise => return None,
            }
        }
        names.reverse();
        Some(names)
    }
}

/// XHDR-12: what a keyword holds, unless it is data.
fn holds(keyword: &str) -> Option<Holds> {
    Some(match keyword {
        "properties" => Holds::Properties,
        "patternProperties" | "dependentSchemas" | "dependencies" | "$defs" | "definitions" => {
            Holds::Schemas
        }
        "additionalProperties"
        | "unevaluatedProperties"
        | "propertyNames"
        | "items"
        | "prefixItems"
        | "additionalItems"
        | "unevaluatedItems"
        | "contains"
        | "contentSchema"
        | "allOf"
        | "anyOf"
        | "oneOf"
        | "not"
        | "if"
        | "then"
        | "else" => Holds::Schema,
        _ => return None,
    })
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a schema")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { holds: here, path, found } = self;
        let (mut annotation, mut kind) = (None::<RawJson>, None::<RawJson>);
        while let Some(key) = map.next_key::<String>()? {
            let (holds, path) = match here {
                Holds::Properties => (Some(Holds::Schema), Path::Property(&key, &path)),
                Holds::Schemas => (Some(Holds::Schema), Path::Otherwise),
                Holds::Schema => match holds(&key) {
                    Some(Holds::Properties) => (Some(Holds::Properties), path),
                    holds => (holds, Path::Otherwise),
                },
            };
            match holds {
                Some(holds) => map.next_value_seed(Place { holds, path, found: &mut *found })?,
                None if key == ANNOTATION => annotation = Some(map.next_value()?),
                None if key == "type" => kind = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match annotation {
            Some(name) => found.take(&name, kind.as_ref(), &path).map_err(|problem| {
                found.problem = Some(problem);
                A::Error::custom("an annotation")
            }),
            None => Ok(()),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let (path, found) = (Path::Otherwise, self.found);
        while let Some(()) =
            seq.next_element_seed(Place { holds: Holds::Schema, path, found: &mut *found })?
        {
        }
        Ok(())
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

#[derive(Default)]
struct Found {
    params: Vec<HeaderParam>,
    bytes: usize,
    problem: Option<String>,
}

impl Found {
    /// Takes an annotation, or says what is wrong with it.
    fn take(
        &mut self,
        name: &RawJson,
        kind: Option<&RawJson>,
        path: &Path<'_>,
    ) -> Result<(), String> {
        let name: String =
            name.parse().map_err(|_| format!("its `{ANNOTATION}` is not a string"))?;
        let problem = |what| format!("its `{ANNOTATION}` {:?} {what}", said(&name));
        // XHDR-2, XHDR-3
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(problem("is not the name of a header"));
        }
        // XHDR-6, XHDR-7
        let path = path
            .names()
            .ok_or_else(|| problem("is not on an argument that property names alone lead to"))?;
        // XHDR-5
        if !kind.is_some_and(is_mirrored) {
            return Err(problem("is on what is neither a string nor an integer nor a boolean"));
        }
        // XHDR-4
        if self.params.iter().any(|param| param.name.eq_ignore_ascii_case(&name)) {
            return Err(problem("is there twice"));
        }
        self.bytes = self.bytes.saturating_add(cost(&name, path.iter().copied()));
        if self.bytes > MOST {
            return Err(format!("its `{ANNOTATION}`s are more than headers can hold"));
        }
        let path = path.into_iter().map(str::to_owned).collect();
        self.params.push(HeaderParam { path, name });
        Ok(())
    }
}

/// A `tchar` of HTTP.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// AMB-4: whether a `type` is one that is said in headers, or that or `null`.
fn is_mirrored(kind: &RawJson) -> bool {
    let is_one = |kind: &str| matches!(kind, "string" | "integer" | "boolean");
    match kind.parse::<[String; 2]>() {
        Ok([one, other]) => (is_one(&one) && other == "null") || (one == "null" && is_one(&other)),
        Err(_) => kind.parse::<String>().is_ok_and(|kind| is_one(&kind)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn params(schema: Value) -> Result<Vec<(String, String)>, String> {
        let found = header_params(&schema.into())?;
        Ok(found.into_iter().map(|param| (param.path.join("/"), param.name)).collect())
    }

    /// A schema with one property.
    fn of(property: Value) -> Value {
        json!({ "type": "object", "properties": { "a": property } })
    }

    fn named(name: impl Into<Value>) -> Value {
        json!({ "type": "string", "x-mcp-header": name.into() })
    }

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Result<Vec<(String, String)>, String> {
        Ok(pairs.map(|(path, name)| (path.to_owned(), name.to_owned())).into())
    }

    #[track_caller]
    fn assert_invalid(schema: Value, why: &str) {
        let shown = schema.to_string();
        let error = params(schema).unwrap_err();
        assert!(error.contains(why), "{shown}: {error}");
    }

    // XHDR-6, XHDR-13
    #[test]
    fn annotations_are_found_with_the_path_of_property_names() {
        let schema = json!({
            "type": "object",
            "properties": {
                "region": { "x-mcp-header": "Region", "type": "string" },
                "query": { "type": "string" },
                "method": { "type": "boolean", "x-mcp-header": "Method" },
                "where": {
                    "type": "object",
                    "properties": { "zone": {
                        "properties": { "id": { "type": "integer", "x-mcp-header": "!#$%&'*+-.^_`|~9" } },
                    } },
                },
            },
        });
        let expected =
            [("region", "Region"), ("method", "Method"), ("where/zone/id", "!#$%&'*+-.^_`|~9")];
        let mut found = params(schema).unwrap();
        let mut expected = pairs(expected).unwrap();
        // The keys of `json!` are sorted.
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_schema_has_no_annotations() {
        for schema in
            [json!({}), json!(null), json!(true), json!("x-mcp-header"), json!([]), json!(5)]
        {
            assert_eq!(params(schema), pairs([]));
        }
        for text in
            [r#""\u0078""#, r#"{"properties":{"a":"\u0078"}}"#, r#"{"default":1e999,"t":"\u0078"}"#]
        {
            let schema = RawJson::from_string(text.to_owned()).unwrap();
            assert_eq!(header_params(&schema), Ok(Vec::new()), "{text}");
        }
    }

    #[test]
    fn an_escape_hides_nothing() {
        let text = r#"{"properties":{"a":{"type":"string","x\u002dmcp-header":"A b"}}}"#;
        let schema = RawJson::from_string(text.to_owned()).unwrap();
        assert!(header_params(&schema).unwrap_err().contains("\"A b\" is not the name"));
    }

    // XHDR-2, XHDR-3
    #[test]
    fn a_name_is_an_http_token() {
        for name in [json!(null), json!(1), json!(true), json!(["A"]), json!({ "A": 1 })] {
            assert_invalid(of(named(name)), "is not a string");
        }
        for name in [
            "",
            " ",
            "My Region",
            "A:",
            "Région",
            "A\r\nB",
            "A\t",
            "\0",
            "\x7f",
            "a(b)",
            "a,b",
            "a/b",
            "a;b",
            "a<b>",
            "a=b",
            "a?b",
            "a@b",
            "[a]",
            "a\\b",
            "\"a\"",
            "{a}",
        ] {
            assert_invalid(of(named(name)), "is not the name of a header");
        }
    }

    // XHDR-4
    #[test]
    fn a_name_is_there_once_whatever_its_case() {
        for (one, other) in [("Region", "Region"), ("Region", "rEGION")] {
            let schema = json!({ "properties": {
                "a": named(one),
                "b": { "properties": { "c": named(other) } },
            } });
            assert_invalid(schema, "is there twice");
        }
    }

    // XHDR-5, XHDR-14, AMB-4
    #[test]
    fn only_strings_integers_and_booleans_are_mirrored() {
        let typed = |kind: Value| of(json!({ "type": kind, "x-mcp-header": "A" }));
        for one in ["string", "integer", "boolean"] {
            for kind in [json!(one), json!([one, "null"]), json!(["null", one])] {
                assert_eq!(params(typed(kind)), pairs([("a", "A")]));
            }
        }
        let what = "neither a string nor an integer nor a boolean";
        for kind in [
            json!("number"),
            json!("array"),
            json!("object"),
            json!("null"),
            json!("String"),
            json!(""),
            json!(null),
            json!(1),
            json!([]),
            json!(["string"]),
            json!(["null"]),
            json!(["null", "null"]),
            json!(["string", "integer"]),
            json!(["number", "null"]),
            json!(["string", "null", "integer"]),
            json!(["string", "null", "null"]),
            json!({}),
        ] {
            assert_invalid(typed(kind), what);
        }
        assert_invalid(of(json!({ "x-mcp-header": "A" })), what);
        assert_invalid(of(json!({ "$ref": "#/$defs/a", "x-mcp-header": "A" })), what);
    }

    // XHDR-6, XHDR-7, XHDR-12
    #[test]
    fn an_annotation_anywhere_else_spoils_the_tool() {
        let here = || named("A");
        let deep = || of(here());
        let what = "is not on an argument";
        assert_invalid(here(), what);
        for keyword in [
            "additionalProperties",
            "unevaluatedProperties",
            "propertyNames",
            "items",
            "prefixItems",
            "additionalItems",
            "unevaluatedItems",
            "contains",
            "contentSchema",
            "not",
            "if",
            "then",
            "else",
            "allOf",
            "anyOf",
            "oneOf",
        ] {
            for schema in [here(), deep(), json!([here()]), json!([true, deep()])] {
                assert_invalid(json!({ keyword: schema }), what);
                assert_invalid(of(json!({ keyword: schema })), what);
            }
        }
        for keyword in
            ["$defs", "definitions", "patternProperties", "dependentSchemas", "dependencies"]
        {
            assert_invalid(json!({ keyword: { "a": here() } }), what);
            assert_invalid(of(json!({ keyword: { "properties": deep() } })), what);
        }
        assert_invalid(json!({ "properties": [here()] }), what);
        assert_invalid(of(json!([here()])), what);
    }

    // XHDR-12
    #[test]
    fn data_is_no_annotation() {
        let schema = json!({
            "properties": {
                "x-mcp-header": { "type": "string" },
                "properties": { "type": "string", "x-mcp-header": "B" },
                "a": {
                    "const": named(""), "enum": [named(""), { "properties": { "b": named("") } }],
                    "default": named(""), "examples": [named("")], "$comment": "x-mcp-header",
                    "required": ["x-mcp-header"], "x-vendor": named(""),
                },
            },
            "dependencies": { "a": ["x-mcp-header"] },
            "dependentRequired": { "x-mcp-header": ["a"] },
            "patternProperties": { "x-mcp-header": true },
            "$defs": { "x-mcp-header": { "type": "string" } },
        });
        assert_eq!(params(schema), pairs([("properties", "B")]));
    }

    #[test]
    fn a_hostile_schema_is_refused_or_walked() {
        let nested = |levels: usize| {
            let (open, close) = (r#"{"not":"#.repeat(levels), "}".repeat(levels));
            RawJson::from_string(format!(r#"{open}{{"x-mcp-header":"A"}}{close}"#)).unwrap()
        };
        assert!(header_params(&nested(100)).unwrap_err().contains("is not on an argument"));
        assert!(header_params(&nested(100_000)).unwrap_err().contains("cannot be read"));
        // What is no schema is skipped at any depth.
        let text =
            format!(r#"{{"const":{}0{},"a":"x-mcp-header"}}"#, "[".repeat(500), "]".repeat(500));
        assert_eq!(header_params(&RawJson::from_string(text).unwrap()), Ok(Vec::new()));
        let many = (0..10_000).map(|i| (i.to_string(), named(format!("A{i}"))));
        assert_invalid(json!({ "properties": Value::Object(many.collect()) }), "more than headers");
        let long = "a".repeat(MOST);
        assert_invalid(of(named(long.clone())), "more than headers");
        assert_invalid(json!({ "properties": { long: named("A") } }), "more than headers");
    }

    fn values(path: &[&str], arguments: &str) -> Result<Vec<(String, String)>, String> {
        let path = path.iter().map(|key| (*key).to_owned()).collect();
        let params = [HeaderParam { path, name: "A".to_owned() }];
        headers(&params, Some(&RawJson::from_string(arguments.to_owned()).unwrap()))
    }

    // XHDR-8, XHDR-15, XHDR-17, XHDR-18, XHDR-23
    #[test]
    fn a_value_is_what_stands_at_its_path() {
        for (json, header) in [
            (r#""us-west1""#, "us-west1"),
            (r#""""#, ""),
            (r#""\u00fc""#, "=?base64?w7w=?="),
            ("42", "42"),
            ("-7", "-7"),
            ("-0", "0"),
            ("42.0", "42"),
            ("1e3", "1000"),
            ("-9007199254740991", "-9007199254740991"),
            ("9007199254740991.0", "9007199254740991"),
            ("true", "true"),
            ("false", "false"),
        ] {
            let expected = pairs([("Mcp-Param-A", header)]);
            let beside = format!(r#"{{ "b": {{ "a": 1 }}, "a" : {json} }}"#);
            assert_eq!(values(&["a"], &beside), expected, "{json}");
            let nested = format!(r#"{{ "a": 1, "b": {{ "a": {{}}, "c\n": {json} }} }}"#);
            assert_eq!(values(&["b", "c\n"], &nested), expected, "{json}");
        }
    }

    // XHDR-16
    #[test]
    fn no_value_and_null_are_no_header() {
        for arguments in [
            "{}",
            "null",
            r#"{"a":null}"#,
            r#"{"a":[{"b":1}]}"#,
            r#"{"a":{"b":null}}"#,
            r#"{"a":{"c":1}}"#,
            r#"{"a":"b"}"#,
            r#"{"b":1}"#,
        ] {
            assert_eq!(values(&["a", "b"], arguments), pairs([]), "{arguments}");
        }
        assert_eq!(
            headers(&[HeaderParam { path: Vec::new(), name: String::new() }], None),
            pairs([])
        );
    }

    // XHDR-19
    #[test]
    fn what_no_header_says_is_refused() {
        for json in [
            "0.5",
            "1e999",
            "9007199254740992",
            "-9007199254740992",
            "9007199254740992.0",
            "18446744073709551616",
            "[]",
            "[1]",
            "{}",
            r#""\ud800""#,
        ] {
            let error = values(&["a", "s3cret"], &format!(r#"{{"a":{{"s3cret":{json}}}}}"#));
            assert!(error.clone().unwrap_err().contains("the argument \"a.s3cret\""), "{error:?}");
        }
    }
}
