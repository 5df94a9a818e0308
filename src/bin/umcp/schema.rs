//! What a tool's `inputSchema` says about one argument. This is no validation, which is the
//! server's: it finds out what text on a command line is meant to be.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Number, Value};
use umcp::RawJson;

use crate::arguments::Members;
use crate::text::did_you_mean;

/// What a schema allows.
#[derive(Debug, Default)]
pub(crate) struct Allowed {
    kinds: BTreeSet<Kind>,
    values: Vec<Value>,
}

/// In the order in which text is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Null,
    Boolean,
    Integer,
    Number,
    Array,
    Object,
    String,
    /// The schema does not say. Text, as it is what was typed.
    Any,
}

/// What the schema of all arguments allows for the one of this name; an error if there is none.
pub(crate) fn argument(schema: &Value, name: &str) -> Result<Allowed, String> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let more = schema.get("additionalProperties");
    match (properties.and_then(|known| known.get(name)), more, properties) {
        (Some(property), ..) => Ok(allowed(schema, property)),
        (None, Some(Value::Bool(false)), Some(known))
            if schema.get("patternProperties").is_none() =>
        {
            let guess = did_you_mean(name, known.keys().map(String::as_str));
            Err(format!("the tool has no argument `{name}`{guess}"))
        }
        (None, Some(more), _) => Ok(allowed(schema, more)),
        (None, None, _) => Ok(allowed(schema, &Value::Null)),
    }
}

/// The required arguments that are not given, as `name: type`.
pub(crate) fn missing(schema: &Value, given: &Members) -> Vec<String> {
    required(schema)
        .filter(|name| !given.has(name))
        .map(|name| {
            let property = schema.get("properties").and_then(|known| known.get(name));
            with_kinds(name, &allowed(schema, property.unwrap_or(&Value::Null)))
        })
        .collect()
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str)
}

fn with_kinds(name: &str, allowed: &Allowed) -> String {
    match allowed.to_string().as_str() {
        "" => name.to_owned(),
        kinds => format!("{name}: {kinds}"),
    }
}

/// How a call of the tool is written: `add(a: number, b: number, precise?: boolean)`.
pub(crate) fn signature(name: &str, schema: &RawJson) -> String {
    #[derive(Default, serde::Deserialize)]
    struct Ordered {
        #[serde(default)]
        properties: Members,
    }
    let root = schema.to_value().unwrap_or_default();
    let required: Vec<&str> = required(&root).collect();
    let ordered = schema.parse::<Ordered>().unwrap_or_default();
    let arguments: Vec<String> = ordered
        .properties
        .iter()
        .map(|(name, property)| {
            let optional = if required.contains(&name.as_str()) { "" } else { "?" };
            let property = property.to_value().unwrap_or_default();
            with_kinds(&format!("{name}{optional}"), &allowed(&root, &property))
        })
        .collect();
    format!("{name}({})", arguments.join(", "))
}

fn allowed(root: &Value, schema: &Value) -> Allowed {
    let mut allowed = Allowed::default();
    let mut left = 1000;
    allowed.add(root, schema, &mut left);
    if allowed.kinds.is_empty() && allowed.values.is_empty() {
        allowed.kinds.insert(Kind::Any);
    }
    allowed
}

impl Allowed {
    /// Adds what one more schema allows. `left` bounds the work, as references may go in circles.
    fn add(&mut self, root: &Value, schema: &Value, left: &mut usize) {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let member = |key: &str| schema.get(key);
        let list = |key: &str| member(key).and_then(Value::as_array);
        let target = member("$ref").and_then(Value::as_str).and_then(|to| to.strip_prefix('#'));
        if let Some(target) = target.and_then(|path| root.pointer(path)) {
            self.add(root, target, left);
        } else if let Some(value) = member("const") {
            self.values.push(value.clone());
        } else if let Some(values) = list("enum") {
            self.values.extend(values.iter().cloned());
        } else if let Some(name) = member("type").and_then(Value::as_str) {
            self.kinds.insert(Kind::named(name));
        } else if let Some(names) = list("type") {
            self.kinds.extend(names.iter().filter_map(Value::as_str).map(Kind::named));
        } else if let Some(any) = list("anyOf").or_else(|| list("oneOf")) {
            for schema in any {
                self.add(root, schema, left);
            }
        } else if let Some(all) = list("allOf") {
            // All hold at once: the first that says something will do.
            for schema in all {
                let mut one = Self::default();
                one.add(root, schema, left);
                if !one.kinds.contains(&Kind::Any) {
                    self.kinds.extend(one.kinds);
                    self.values.extend(one.values);
                    return;
                }
            }
            self.kinds.insert(Kind::Any);
        } else {
            self.kinds.insert(Kind::Any);
        }
    }

    /// Reads text as the first of what is allowed; says what was expected if it is nothing of it.
    pub(crate) fn read(&self, text: &str) -> Result<RawJson, String> {
        let is_text = |value: &&Value| value.as_str() == Some(text);
        if let Some(value) = self.values.iter().find(is_text) {
            return Ok(RawJson::from(value.clone()));
        }
        if let Ok(value) = serde_json::from_str::<Value>(text)
            && self.values.contains(&value)
        {
            return Ok(RawJson::from(value));
        }
        self.kinds
            .iter()
            .find_map(|kind| kind.read(text))
            .ok_or_else(|| format!("the tool takes `{self}`"))
    }
}

/// Like `integer|null` or `"brief"|"strict"`; nothing if anything is allowed.
impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kinds.contains(&Kind::Any) {
            return Ok(());
        }
        let kinds = self.kinds.iter().map(|kind| kind.name().to_owned());
        let mut names: Vec<String> = self.values.iter().map(Value::to_string).collect();
        names.extend(kinds);
        f.write_str(&names.join("|"))
    }
}

impl Kind {
    fn named(name: &str) -> Self {
        const ALL: [Kind; 7] = [
            Kind::Null,
            Kind::Boolean,
            Kind::Integer,
            Kind::Number,
            Kind::Array,
            Kind::Object,
            Kind::String,
        ];
        ALL.into_iter().find(|kind| kind.name() == name).unwrap_or(Kind::Any)
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Boolean => "boolean",
            Kind::Integer => "integer",
            Kind::Number => "number",
            Kind::Array => "array",
            Kind::Object => "object",
            Kind::String => "string",
            Kind::Any => "any",
        }
    }

    /// Digits are kept as they were typed: a number may be larger than this program can hold.
    fn read(self, text: &str) -> Option<RawJson> {
        let bare = text.trim();
        let fits = match self {
            Kind::String | Kind::Any => return RawJson::from_value(text).ok(),
            Kind::Null => bare == "null",
            Kind::Boolean => matches!(bare, "true" | "false"),
            Kind::Integer => bare.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-'),
            Kind::Number => serde_json::from_str::<Number>(bare).is_ok(),
            Kind::Array => bare.starts_with('['),
            Kind::Object => bare.starts_with('{'),
        };
        fits.then(|| RawJson::from_string(bare.to_owned()).ok())?
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(schema: Value, text: &str) -> Result<String, String> {
        allowed(&Value::Null, &schema).read(text).map(|json| json.get().to_owned())
    }

    #[test]
    fn text_becomes_what_the_schema_says() {
        for (schema, text, expected) in [
            (json!({"type": "string"}), "5", r#""5""#),
            (json!({"type": "string"}), "true", r#""true""#),
            (json!({"type": "string"}), "", r#""""#),
            (json!({"type": "string"}), " a\n", r#"" a\n""#),
            (json!({"type": "integer"}), "-5", "-5"),
            (
                json!({"type": "integer"}),
                "123456789012345678901234567890",
                "123456789012345678901234567890",
            ),
            (json!({"type": "integer"}), "7\n", "7"),
            (json!({"type": "number"}), "1.50", "1.50"),
            (json!({"type": "number"}), "1e3", "1e3"),
            (json!({"type": "boolean"}), "false", "false"),
            (json!({"type": "null"}), "null", "null"),
            (json!({"type": "array"}), "[1, 2]", "[1, 2]"),
            (json!({"type": "object"}), r#"{"a":1}"#, r#"{"a":1}"#),
            (json!({}), "5", r#""5""#),
            (json!({"type": "date"}), "5", r#""5""#),
            (json!(true), "5", r#""5""#),
            // Several types: the most special one that fits.
            (json!({"type": ["integer", "null"]}), "null", "null"),
            (json!({"type": ["null", "integer"]}), "5", "5"),
            (json!({"type": ["string", "integer"]}), "5", "5"),
            (json!({"type": ["string", "integer"]}), "007", r#""007""#),
            (json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), "null", "null"),
            (json!({"anyOf": [{"type": "string"}, {"type": "array"}]}), "a", r#""a""#),
            (json!({"oneOf": [{"type": "string"}, {"type": "array"}]}), "[1]", "[1]"),
            (json!({"oneOf": [{"type": "string"}, {"type": "array"}]}), "[1", r#""[1""#),
            (json!({"anyOf": [{"type": "integer"}, {}]}), "x", r#""x""#),
            (json!({"allOf": [{"minimum": 3}, {"type": "number"}]}), "5", "5"),
            // Certain values.
            (json!({"enum": ["a", "5", 5, null]}), "a", r#""a""#),
            (json!({"enum": ["a", "5", 5, null]}), "5", r#""5""#),
            (json!({"enum": ["a", 5, null]}), "5", "5"),
            (json!({"enum": ["a", 5, null]}), "null", "null"),
            (json!({"type": "integer", "const": 3}), "3", "3"),
            (json!({"anyOf": [{"const": "auto"}, {"type": "integer"}]}), "3", "3"),
            (json!({"anyOf": [{"const": "auto"}, {"type": "integer"}]}), "auto", r#""auto""#),
        ] {
            assert_eq!(read(schema.clone(), text).as_deref(), Ok(expected), "{schema} {text:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (schema, text, expected) in [
            (json!({"type": "integer"}), "abc", "integer"),
            (json!({"type": "integer"}), "1.5", "integer"),
            (json!({"type": "integer"}), "007", "integer"),
            (json!({"type": "integer"}), "", "integer"),
            (json!({"type": "integer"}), "--5", "integer"),
            (json!({"type": "number"}), "NaN", "number"),
            (json!({"type": "number"}), "1,5", "number"),
            (json!({"type": "boolean"}), "yes", "boolean"),
            (json!({"type": "array"}), "a,b", "array"),
            (json!({"type": "array"}), "[1] 2", "array"),
            (json!({"type": "object"}), "[1]", "object"),
            (json!({"type": ["integer", "null"]}), "x", "null|integer"),
            (json!({"enum": ["a", 5]}), "b", r#""a"|5"#),
        ] {
            let error = Err(format!("the tool takes `{expected}`"));
            assert_eq!(read(schema.clone(), text), error, "{schema} {text:?}");
        }
    }

    #[test]
    fn references_are_followed_and_end() {
        let root = json!({
            "$defs": {"count": {"type": "integer"}, "loop": {"$ref": "#/$defs/loop"},
                "wide": {"anyOf": [{"$ref": "#/$defs/wide"}, {"$ref": "#/$defs/wide"}]}},
            "properties": {"n": {"$ref": "#/$defs/count"}, "l": {"$ref": "#/$defs/loop"},
                "w": {"$ref": "#/$defs/wide"}, "x": {"$ref": "http://elsewhere/"}}
        });
        let read = |name| argument(&root, name).unwrap().read("5").map(|json| json.to_string());
        assert_eq!(read("n").as_deref(), Ok("5"));
        assert_eq!(read("x").as_deref(), Ok(r#""5""#));
        assert_eq!(read("l").as_deref(), Ok(r#""5""#));
        assert_eq!(read("w").as_deref(), Ok(r#""5""#));
    }

    #[test]
    fn unknown_names_are_refused_if_the_schema_is_closed() {
        let closed = json!({"properties": {"count": {}}, "additionalProperties": false});
        let error = "the tool has no argument `cuont`. Did you mean `count`?";
        assert_eq!(
            argument(&closed, "cuont").err().as_deref(),
            Some("the tool has no argument `cuont`")
        );
        assert_eq!(argument(&closed, "coun").err().unwrap(), error.replace("cuont", "coun"));
        let open =
            json!({"properties": {"count": {}}, "additionalProperties": {"type": "integer"}});
        assert_eq!(argument(&open, "x").unwrap().read("5").unwrap().get(), "5");
        for open in [json!({}), json!(null), json!({"additionalProperties": true})] {
            assert_eq!(argument(&open, "x").unwrap().read("5").unwrap().get(), r#""5""#);
        }
    }

    #[test]
    fn signatures_are_short_and_in_order() {
        let schema = r#"{"type":"object","properties":{"b":{"type":"number"},"a":{},
            "style":{"enum":["x","y"]},"n":{"type":["integer","null"]}},"required":["b","a"]}"#;
        let schema = RawJson::from_string(schema.to_owned()).unwrap();
        let expected = r#"f(b: number, a, style?: "x"|"y", n?: null|integer)"#;
        assert_eq!(signature("f", &schema), expected);
        assert_eq!(signature("f", &RawJson::from(json!({}))), "f()");
        assert_eq!(signature("f", &RawJson::from(json!(true))), "f()");
    }
}
