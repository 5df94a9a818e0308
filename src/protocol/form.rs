//! Whether a form is filled in as the server wants it (sections "Requested schema" and "Form mode
//! security" of the specification's elicitation).

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{Choice, ElicitSchema, NumberSchema, PrimitiveSchema, StringFormat, StringSchema};
use crate::error::{Error, ErrorKind, said};

impl ElicitSchema {
    /// Checks what a user has filled in for one field: its type, its bounds, its choices and its
    /// format. What a handler accepts is checked in the same way as a whole; this is for asking again
    /// at once.
    ///
    /// ```
    /// # use umcp::json;
    /// use umcp::protocol::ElicitSchema;
    ///
    /// let text = r#"{ "properties": { "age": { "type": "integer", "minimum": 18 } } }"#;
    /// let form: ElicitSchema = serde_json::from_str(text)?;
    /// assert!(form.check("age", &json!(36)).is_ok());
    /// assert_eq!(form.check("age", &json!(7)).unwrap_err().to_string(), "\"age\" is too small");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput), which names the field and what is wrong, and does not
    /// show the value.
    pub fn check(&self, name: &str, value: &Value) -> Result<(), Error> {
        let field = self.property(name);
        let checked = field.map_or_else(|| Err(unknown(name)), |field| checked(name, field, value));
        checked.map_err(|why| Error::new(ErrorKind::InvalidInput, why))
    }

    /// Adds the defaults of what was left out, and checks all of it. Says what is wrong by the name of
    /// the field, and shows no value.
    pub(crate) fn complete(
        &self,
        mut content: Map<String, Value>,
    ) -> Result<Map<String, Value>, String> {
        for (name, field) in &self.properties {
            // A default that is none is the server's mistake, and not to be the user's.
            if !content.contains_key(name)
                && let Some(default) = field.default_value().filter(|it| check(field, it).is_ok())
            {
                content.insert(name.clone(), default.clone());
            }
        }
        if let Some(name) = self.required.iter().find(|name| !content.contains_key(*name)) {
            return Err(format!("{:?} is missing", said(name)));
        }
        // A server may ask for any number of fields.
        let fields: HashMap<&str, &PrimitiveSchema> =
            self.properties.iter().map(|(name, field)| (name.as_str(), field)).collect();
        for (name, value) in &content {
            let field = fields.get(name.as_str()).ok_or_else(|| unknown(name))?;
            checked(name, field, value)?;
        }
        Ok(content)
    }
}

fn unknown(name: &str) -> String {
    format!("there is no field {:?}", said(name))
}

fn checked(name: &str, field: &PrimitiveSchema, value: &Value) -> Result<(), String> {
    check(field, value).map_err(|why| format!("{:?} {why}", said(name)))
}

fn check(field: &PrimitiveSchema, value: &Value) -> Result<(), String> {
    match field {
        PrimitiveSchema::String(schema) => match value.as_str() {
            Some(text) => check_text(schema, text),
            None => Err("is no text".to_owned()),
        },
        PrimitiveSchema::Number(schema) => match value.as_f64() {
            Some(number) => check_number(schema, number),
            None => Err("is no number".to_owned()),
        },
        PrimitiveSchema::Integer(schema) => match value.as_f64() {
            Some(number) if number.fract() == 0.0 => check_number(schema, number),
            _ => Err("is no whole number".to_owned()),
        },
        PrimitiveSchema::Boolean(_) if value.is_boolean() => Ok(()),
        PrimitiveSchema::Boolean(_) => Err("is neither true nor false".to_owned()),
        PrimitiveSchema::Array(schema) => {
            let Some(values) = value.as_array() else { return Err("is no list".to_owned()) };
            let count = values.len() as u64;
            if schema.min_items.is_some_and(|least| count < least) {
                return Err("has too few values".to_owned());
            }
            if schema.max_items.is_some_and(|most| count > most) {
                return Err("has too many values".to_owned());
            }
            // There may be any number of either.
            let choices = schema.choices();
            let choices: HashSet<&str> = choices.iter().map(|it| it.value.as_str()).collect();
            let is_choice = |value: &Value| value.as_str().is_some_and(|it| choices.contains(it));
            match values.iter().all(is_choice) {
                true => Ok(()),
                false => Err("has a value that is none of the choices".to_owned()),
            }
        }
        // A kind of field that this version does not know: the server checks it.
        _ => Ok(()),
    }
}

fn check_text(schema: &StringSchema, text: &str) -> Result<(), String> {
    let is_none = |choices: Vec<Choice>| !choices.iter().any(|choice| choice.value == text);
    if schema.choices().is_some_and(is_none) {
        return Err("is none of the choices".to_owned());
    }
    let length = text.chars().count() as u64;
    if schema.min_length.is_some_and(|least| length < least) {
        return Err("is too short".to_owned());
    }
    if schema.max_length.is_some_and(|most| length > most) {
        return Err("is too long".to_owned());
    }
    // What a server makes of them is its business; these are slips of the hand.
    let fits = match &schema.format {
        Some(StringFormat::Email) => {
            text.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty())
        }
        Some(StringFormat::Uri) => {
            text.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme))
        }
        Some(StringFormat::Date) => is_date(text),
        Some(StringFormat::DateTime) => {
            let split = text.split_once(['T', 't', ' ']);
            split.is_some_and(|(date, time)| is_date(date) && is_time(time))
        }
        _ => true,
    };
    match fits {
        true => Ok(()),
        false => Err("is not of the format that is asked for".to_owned()),
    }
}

fn check_number(schema: &NumberSchema, number: f64) -> Result<(), String> {
    if schema.minimum.is_some_and(|least| number < least) {
        return Err("is too small".to_owned());
    }
    if schema.maximum.is_some_and(|most| number > most) {
        return Err("is too large".to_owned());
    }
    Ok(())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn number(text: &str, digits: usize) -> Option<u32> {
    let is_number = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let of = |text, digits, range: std::ops::RangeInclusive<u32>| {
        number(text, digits).is_some_and(|number| range.contains(&number))
    };
    of(year, 4, 0..=9999) && of(month, 2, 1..=12) && of(day, 2, 1..=31)
}

/// `12:34:56`, perhaps with a fraction, and `Z` or `+01:00`.
fn is_time(text: &str) -> bool {
    let Some(end) = text.find(['Z', 'z', '+', '-']) else { return false };
    let (time, zone) = text.split_at(end);
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let parts: Vec<&str> = time.split(':').collect();
    let [hour, minute, second] = parts.as_slice() else { return false };
    let of = |text, most| number(text, 2).is_some_and(|number| number <= most);
    let is_zone = match zone.strip_prefix(['+', '-']) {
        Some(offset) => offset.split_once(':').is_some_and(|(h, m)| of(h, 23) && of(m, 59)),
        None => zone.eq_ignore_ascii_case("z"),
    };
    let is_fraction = !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    of(hour, 23) && of(minute, 59) && of(second, 60) && is_fraction && is_zone
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn completed(fields: Value, required: Value, content: Value) -> Result<Value, String> {
        let schema = json!({ "type": "object", "properties": fields, "required": required });
        let schema: ElicitSchema = serde_json::from_value(schema).unwrap();
        let Value::Object(content) = content else { panic!("no object") };
        schema.complete(content).map(Value::Object)
    }

    // ELIC-6, ELIC-7
    #[test]
    fn what_is_left_out_gets_its_default() {
        let fields = json!({
            "text": { "type": "string", "default": "a" },
            "number": { "type": "number", "default": 1.5 },
            "whole": { "type": "integer", "default": 2 },
            "yes": { "type": "boolean", "default": false },
            "one": { "type": "string", "enum": ["x", "y"], "default": "y" },
            "some": { "type": "array", "items": { "type": "string", "enum": ["x", "y"] }, "default": ["x"] },
            "none": { "type": "string" },
        });
        let defaults = json!({
            "text": "a", "number": 1.5, "whole": 2, "yes": false, "one": "y", "some": ["x"],
        });
        assert_eq!(completed(fields.clone(), json!(["text"]), json!({})), Ok(defaults.clone()));
        let mut expected = defaults;
        expected["text"] = json!("b");
        expected["none"] = json!("c");
        let given = json!({ "text": "b", "none": "c" });
        assert_eq!(completed(fields, json!(["text"]), given), Ok(expected));
    }

    // ELIC-5, ELIC-8, ELIC-10
    #[test]
    fn values_are_what_the_form_asks_for() {
        let cases = [
            (json!({ "type": "string" }), json!("a"), json!(1)),
            (json!({ "type": "string", "minLength": 2 }), json!("äö"), json!("ä")),
            (json!({ "type": "string", "maxLength": 2 }), json!("äö"), json!("äöü")),
            (json!({ "type": "string", "enum": ["a"] }), json!("a"), json!("b")),
            (
                json!({ "type": "string", "oneOf": [{ "const": "a", "title": "A" }] }),
                json!("a"),
                json!("A"),
            ),
            (json!({ "type": "string", "format": "email" }), json!("a@b"), json!("@b")),
            (json!({ "type": "string", "format": "uri" }), json!("a:b"), json!("a b")),
            (
                json!({ "type": "string", "format": "date" }),
                json!("2026-07-28"),
                json!("2026-13-28"),
            ),
            (
                json!({ "type": "string", "format": "date-time" }),
                json!("2026-07-28T12:34:56.7+01:00"),
                json!("2026-07-28T25:00:00Z"),
            ),
            (json!({ "type": "string", "format": "else" }), json!("a"), json!(null)),
            (json!({ "type": "number", "minimum": 1 }), json!(1.5), json!(0.5)),
            (json!({ "type": "number", "maximum": 1 }), json!(1), json!(1.5)),
            (json!({ "type": "integer" }), json!(2.0), json!(2.5)),
            (json!({ "type": "integer" }), json!(-2), json!("2")),
            (json!({ "type": "boolean" }), json!(true), json!("true")),
            (json!({ "type": "array", "items": { "enum": ["a"] } }), json!(["a"]), json!(["b"])),
            (json!({ "type": "array", "items": { "enum": ["a"] } }), json!([]), json!("a")),
            (
                json!({ "type": "array", "items": { "anyOf": [{ "const": "a", "title": "A" }] }, "minItems": 1 }),
                json!(["a"]),
                json!([]),
            ),
            (
                json!({ "type": "array", "items": { "oneOf": [{ "const": "a", "title": "A" }] }, "maxItems": 1 }),
                json!(["a"]),
                json!(["a", "a"]),
            ),
        ];
        for (field, good, bad) in cases {
            let fields = json!({ "x": field });
            let good = json!({ "x": good });
            assert_eq!(completed(fields.clone(), json!([]), good.clone()), Ok(good), "{fields}");
            let why = completed(fields.clone(), json!([]), json!({ "x": bad })).unwrap_err();
            assert!(why.starts_with("\"x\" "), "{fields}: {why}");
        }
        let missing = completed(json!({ "x": { "type": "string" } }), json!(["x"]), json!({}));
        assert_eq!(missing, Err("\"x\" is missing".to_owned()));
        let wrong = json!({ "x": { "type": "integer", "default": "many" } });
        assert_eq!(completed(wrong, json!([]), json!({})), Ok(json!({})));
        let unknown = completed(json!({}), json!([]), json!({ "y": "hunter2" }));
        assert_eq!(unknown, Err("there is no field \"y\"".to_owned()));
    }
}
