use std::net::IpAddr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::redact::Hidden;
use super::{RawJson, lenient, tagged};

/// The params of `elicitation/create` (`ElicitRequestParams`; since 2025-06-18), told apart by
/// `mode`; without one it is a form.
#[non_exhaustive]
#[derive(Clone, PartialEq)]
pub enum ElicitParams {
    /// The user fills in a form.
    Form(ElicitFormParams),
    /// The user visits a URL (since 2025-11-25).
    Url(ElicitUrlParams),
    /// A mode this version of umcp does not know, kept whole.
    Other(Map<String, Value>),
}

impl ElicitParams {
    /// What to tell the user.
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Form(params) => Some(&params.message),
            Self::Url(params) => Some(&params.message),
            Self::Other(map) => map.get("message").and_then(Value::as_str),
        }
    }
}

impl std::fmt::Debug for ElicitParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Form(params) => params.fmt(f),
            Self::Url(params) => params.fmt(f),
            Self::Other(map) => f.debug_tuple("Other").field(&Hidden(map)).finish(),
        }
    }
}

impl Serialize for ElicitParams {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Form(params) => tagged::write(serializer, "mode", "form", params),
            Self::Url(params) => tagged::write(serializer, "mode", "url", params),
            Self::Other(map) => map.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ElicitParams {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Tag {
            mode: Option<String>,
        }

        // Twice over the text, so that the properties of the form keep their order.
        let raw = RawJson::deserialize(deserializer)?;
        let Tag { mode } = raw.parse().map_err(Error::custom)?;
        let mut params = match mode.as_deref() {
            None | Some("form") => raw.parse().map(Self::Form),
            Some("url") => raw.parse().map(Self::Url),
            Some(_) => raw.parse().map(Self::Other),
        }
        .map_err(Error::custom)?;
        // The variant already says it.
        match &mut params {
            Self::Form(ElicitFormParams { extra, .. })
            | Self::Url(ElicitUrlParams { extra, .. }) => {
                extra.remove("mode");
            }
            Self::Other(_) => {}
        }
        Ok(params)
    }
}

/// A form to be filled in (`ElicitRequestFormParams`; since 2025-06-18).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ElicitFormParams {
    /// What to tell the user.
    pub message: String,
    /// The fields.
    pub requested_schema: ElicitSchema,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ElicitFormParams { message, requested_schema } hidden { meta, extra });

impl ElicitFormParams {
    /// Asks for `requested_schema`.
    pub fn new(message: impl Into<String>, requested_schema: ElicitSchema) -> Self {
        Self { message: message.into(), requested_schema, meta: None, extra: Map::new() }
    }
}

/// A URL to be visited (`ElicitRequestURLParams`; since 2025-11-25).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ElicitUrlParams {
    /// What to tell the user.
    pub message: String,
    /// Where to go. May hold secrets: only for the user's browser.
    pub url: String,
    /// What `notifications/elicitation/complete` names (2025-11-25 only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elicitation_id: Option<String>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ElicitUrlParams { message, elicitation_id } hidden { url, meta, extra });

impl ElicitUrlParams {
    /// Returns the host of the URL, with its port if it names one: what a user is to be shown before
    /// anything is opened. `None` if the URL is neither `https://` nor `http://` on this machine, or
    /// its host is not plain ASCII (which may look like another): such a URL is not to be opened.
    ///
    /// ```
    /// use umcp::protocol::ElicitUrlParams;
    ///
    /// let host = |url| ElicitUrlParams::new("Please sign in", url).host().map(str::to_owned);
    /// assert_eq!(host("https://example.com:8443/x").as_deref(), Some("example.com:8443"));
    /// assert_eq!(host("https://me@example.com/").as_deref(), None);
    /// assert_eq!(host("http://example.com/"), None);
    /// ```
    pub fn host(&self) -> Option<&str> {
        let (scheme, rest) = self.url.split_once("://")?;
        let host = rest.split(['/', '?', '#', '\\']).next()?;
        let is_plain =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        if host.is_empty() || !host.chars().all(is_plain) {
            return None;
        }
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split_once(']').map(|(name, _)| name)?,
            None => host.split(':').next()?,
        };
        let is_here = name.eq_ignore_ascii_case("localhost")
            || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let is_allowed =
            scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http") && is_here;
        is_allowed.then_some(host)
    }

    /// Sends the user to `url`.
    pub fn new(message: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            url: url.into(),
            elicitation_id: None,
            meta: None,
            extra: Map::new(),
        }
    }
}

/// The data of error -32042 (`URLElicitationRequiredError`; 2025-11-25 only).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UrlElicitationRequired {
    /// What the user must do before the request can be sent again.
    pub elicitations: Vec<ElicitParams>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(UrlElicitationRequired { elicitations } hidden { extra });

/// The fields of a form: a flat object schema.
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ElicitSchema {
    /// The dialect of JSON Schema (since 2025-11-25).
    #[serde(rename = "$schema", skip_serializing_if = "Option::is_none")]
    pub dialect: Option<String>,
    /// Always `object`.
    #[serde(rename = "type", default = "object")]
    pub kind: String,
    /// The fields by name, in the order of the server.
    #[serde(with = "lenient::ordered")]
    pub properties: Vec<(String, PrimitiveSchema)>,
    /// The names of the fields that must be filled in.
    #[serde(
        default,
        deserialize_with = "lenient::or_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub required: Vec<String>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ElicitSchema { dialect, kind, properties, required } hidden { extra });

impl ElicitSchema {
    /// A form of these fields, none of them required.
    pub fn new(properties: Vec<(String, PrimitiveSchema)>) -> Self {
        Self { dialect: None, kind: object(), properties, required: Vec::new(), extra: Map::new() }
    }

    /// The field `name`.
    pub fn property(&self, name: &str) -> Option<&PrimitiveSchema> {
        let (_, schema) = self.properties.iter().find(|(key, _)| key == name)?;
        Some(schema)
    }

    /// Whether the field `name` must be filled in.
    pub fn is_required(&self, name: &str) -> bool {
        self.required.iter().any(|required| required == name)
    }
}

fn object() -> String {
    "object".to_owned()
}

tagged_union! {
    /// A field of a form (`PrimitiveSchemaDefinition`).
    pub enum PrimitiveSchema by "type" {
        /// Text, or one of some choices.
        String(StringSchema) = "string",
        /// A number.
        Number(NumberSchema) = "number",
        /// A number without a fraction.
        Integer(NumberSchema) = "integer",
        /// Yes or no.
        Boolean(BooleanSchema) = "boolean",
        /// Some of some choices (since 2025-11-25).
        Array(MultiSelectSchema) = "array",
    }
}

impl PrimitiveSchema {
    /// The name for people.
    pub fn title(&self) -> Option<&str> {
        match self {
            Self::String(schema) => schema.title.as_deref(),
            Self::Number(schema) | Self::Integer(schema) => schema.title.as_deref(),
            Self::Boolean(schema) => schema.title.as_deref(),
            Self::Array(schema) => schema.title.as_deref(),
            Self::Other(map) => map.get("title").and_then(Value::as_str),
        }
    }

    /// What the field is for.
    pub fn description(&self) -> Option<&str> {
        match self {
            Self::String(schema) => schema.description.as_deref(),
            Self::Number(schema) | Self::Integer(schema) => schema.description.as_deref(),
            Self::Boolean(schema) => schema.description.as_deref(),
            Self::Array(schema) => schema.description.as_deref(),
            Self::Other(map) => map.get("description").and_then(Value::as_str),
        }
    }

    /// The value to start with.
    pub fn default_value(&self) -> Option<&Value> {
        match self {
            Self::String(schema) => schema.default.as_ref(),
            Self::Number(schema) | Self::Integer(schema) => schema.default.as_ref(),
            Self::Boolean(schema) => schema.default.as_ref(),
            Self::Array(schema) => schema.default.as_ref(),
            Self::Other(map) => map.get("default"),
        }
    }
}

/// A text field (`StringSchema`), or a choice of one (`UntitledSingleSelectEnumSchema`,
/// `TitledSingleSelectEnumSchema`, `LegacyTitledEnumSchema`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StringSchema {
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What the field is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The least number of characters.
    #[serde(
        default,
        deserialize_with = "lenient::optional_integer",
        skip_serializing_if = "Option::is_none"
    )]
    pub min_length: Option<u64>,
    /// The greatest number of characters.
    #[serde(
        default,
        deserialize_with = "lenient::optional_integer",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_length: Option<u64>,
    /// What the text must look like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<StringFormat>,
    /// A regular expression for the text (shown on the 2025-11-25 page only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The values to choose from.
    #[serde(rename = "enum", skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
    /// Names for `values`, in their order (deprecated).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enum_names: Option<Vec<String>>,
    /// The values to choose from, with names (since 2025-11-25).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<Choice>>,
    /// The value to start with (since 2025-11-25).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(
    StringSchema {
        title, description, min_length, max_length, format, pattern, values, enum_names,
        one_of
    }
    hidden { default, extra }
);

impl StringSchema {
    /// The values to choose from, in whichever way they are given; `None` for free text.
    pub fn choices(&self) -> Option<Vec<Choice>> {
        if let Some(choices) = &self.one_of {
            return Some(choices.clone());
        }
        let mut names = self.enum_names.iter().flatten();
        let choice = |value: &String| Choice::new(value, names.next().cloned());
        Some(self.values.as_ref()?.iter().map(choice).collect())
    }
}

string_enum! {
    /// What a text must look like.
    pub enum StringFormat {
        /// A mail address.
        Email = "email",
        /// A URI.
        Uri = "uri",
        /// A date, as in `2026-07-28`.
        Date = "date",
        /// A date with a time (RFC 3339).
        DateTime = "date-time",
    }
}

/// A value to choose.
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Choice {
    /// What is sent.
    #[serde(rename = "const")]
    pub value: String,
    /// What is shown; absent means the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(Choice { value, title } hidden { extra });

impl Choice {
    /// A value with the name to show, if it has one.
    pub fn new(value: impl Into<String>, title: Option<String>) -> Self {
        Self { value: value.into(), title, extra: Map::new() }
    }

    /// The name to show.
    pub fn display_name(&self) -> &str {
        self.title.as_deref().unwrap_or(&self.value)
    }
}

/// A number field (`NumberSchema`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NumberSchema {
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What the field is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The least value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum: Option<f64>,
    /// The greatest value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum: Option<f64>,
    /// The value to start with (since 2025-11-25).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(NumberSchema { title, description, minimum, maximum } hidden { default, extra });

/// A yes or no field (`BooleanSchema`).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BooleanSchema {
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What the field is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The value to start with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(BooleanSchema { title, description } hidden { default, extra });

/// A choice of several (`UntitledMultiSelectEnumSchema`, `TitledMultiSelectEnumSchema`; since
/// 2025-11-25).
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MultiSelectSchema {
    /// The name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What the field is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The least number of values.
    #[serde(
        default,
        deserialize_with = "lenient::optional_integer",
        skip_serializing_if = "Option::is_none"
    )]
    pub min_items: Option<u64>,
    /// The greatest number of values.
    #[serde(
        default,
        deserialize_with = "lenient::optional_integer",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_items: Option<u64>,
    /// What each value can be.
    pub items: MultiSelectItems,
    /// The values to start with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(
    MultiSelectSchema { title, description, min_items, max_items, items }
    hidden { default, extra }
);

impl MultiSelectSchema {
    /// The values to choose from, in whichever way they are given.
    pub fn choices(&self) -> Vec<Choice> {
        let items = &self.items;
        if let Some(choices) = items.any_of.as_ref().or(items.one_of.as_ref()) {
            return choices.clone();
        }
        let values = items.values.iter().flatten();
        values.map(|value| Choice::new(value, None)).collect()
    }
}

/// What each value of a [`MultiSelectSchema`] can be.
#[non_exhaustive]
#[derive(Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MultiSelectItems {
    /// `string`, where the values have no names.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The values.
    #[serde(rename = "enum", skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<String>>,
    /// The values, with names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub any_of: Option<Vec<Choice>>,
    /// The same as `any_of`, as SEP-1330 spells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<Choice>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(MultiSelectItems { kind, values, any_of, one_of } hidden { extra });

/// The answer to `elicitation/create` (`ElicitResult`; since 2025-06-18).
#[non_exhaustive]
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ElicitResult {
    /// What the user did.
    pub action: ElicitAction,
    /// The filled in form: strings, numbers, booleans, and lists of strings (since 2025-11-25).
    /// Only for an accepted form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Map<String, Value>>,
    /// The `_meta` object.
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    pub meta: Option<Map<String, Value>>,
    /// Members this version of umcp does not know.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

redacted_debug!(ElicitResult { action } hidden { content, meta, extra });

impl ElicitResult {
    /// The user filled in the form.
    pub fn accept(content: Map<String, Value>) -> Self {
        Self { content: Some(content), ..Self::new(ElicitAction::Accept) }
    }

    /// The user agreed to visit the URL.
    pub fn accept_url() -> Self {
        Self::new(ElicitAction::Accept)
    }

    /// The user said no.
    pub fn decline() -> Self {
        Self::new(ElicitAction::Decline)
    }

    /// The user turned away without a choice.
    pub fn cancel() -> Self {
        Self::new(ElicitAction::Cancel)
    }

    /// An answer without content.
    pub fn new(action: ElicitAction) -> Self {
        Self { action, content: None, meta: None, extra: Map::new() }
    }
}

string_enum! {
    /// What a user did with an elicitation.
    pub enum ElicitAction {
        /// Agreed.
        Accept = "accept",
        /// Said no.
        Decline = "decline",
        /// Turned away without a choice.
        Cancel = "cancel",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_str, from_value, json, to_string, to_value};

    use super::*;

    fn schema(wire: Value) -> PrimitiveSchema {
        let schema: PrimitiveSchema = from_value(wire.clone()).unwrap();
        assert_eq!(to_value(&schema).unwrap(), wire);
        schema
    }

    // ELIC-3
    #[test]
    fn mode_defaults_to_form_and_fields_keep_their_order() {
        let fields = r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"boolean"}},"required":["z"]}"#;
        let wire = format!(r#"{{"message":"m","requestedSchema":{fields}}}"#);
        let params: ElicitParams = from_str(&wire).unwrap();
        let ElicitParams::Form(form) = &params else {
            panic!("{params:?}");
        };
        assert!(form.requested_schema.is_required("z"));
        assert!(form.requested_schema.property("a").is_some());
        assert_eq!(
            to_string(&params).unwrap(),
            format!(r#"{{"mode":"form","message":"m","requestedSchema":{fields}}}"#)
        );
    }

    #[test]
    fn url_and_unknown_modes() {
        let wire = r#"{"mode":"url","message":"m","url":"https://s3cret","elicitationId":"1"}"#;
        let params: ElicitParams = from_str(wire).unwrap();
        assert!(matches!(params, ElicitParams::Url(_)));
        assert_eq!(to_string(&params).unwrap(), wire);
        assert!(!format!("{params:?}").contains("s3cret"));
        let wire = json!({"mode": "voice", "message": "m"});
        let params: ElicitParams = from_value(wire.clone()).unwrap();
        assert_eq!(params.message(), Some("m"));
        assert_eq!(to_value(&params).unwrap(), wire);
    }

    // ELIC-17
    #[test]
    fn all_spellings_of_choices() {
        let titled = json!([{"const": "r", "title": "Red"}, {"const": "g", "title": "Green"}]);
        for wire in [
            json!({"type": "string", "enum": ["r", "g"], "enumNames": ["Red", "Green"]}),
            json!({"type": "string", "oneOf": titled, "default": "r"}),
        ] {
            let PrimitiveSchema::String(schema) = schema(wire) else {
                panic!();
            };
            let choices = schema.choices().unwrap();
            assert_eq!((choices[1].value.as_str(), choices[1].display_name()), ("g", "Green"));
        }
        for items in [
            json!({"anyOf": titled}),
            json!({"oneOf": titled}),
            json!({"type": "string", "enum": ["r", "g"]}),
        ] {
            let PrimitiveSchema::Array(schema) = schema(json!({"type": "array", "items": items}))
            else {
                panic!();
            };
            assert_eq!(schema.choices()[0].value, "r");
        }
        assert_eq!(StringSchema::default().choices(), None);
    }

    // RPC-29
    #[test]
    fn numbers_may_be_fractional_and_keep_their_spelling() {
        let number = schema(json!({"type": "number", "minimum": 0.5, "default": 1}));
        assert_eq!(number.default_value(), Some(&json!(1)));
        schema(json!({"type": ["string", "null"], "title": "t"}));
        let text: PrimitiveSchema =
            from_value(json!({"type": "string", "minLength": 3.0})).unwrap();
        assert!(matches!(text, PrimitiveSchema::String(text) if text.min_length == Some(3)));
    }

    // ELIC-9
    #[test]
    fn answers() {
        let content = Map::from_iter([("a".to_owned(), json!("s3cret"))]);
        let accept = ElicitResult::accept(content);
        assert!(!format!("{accept:?}").contains("s3cret"));
        assert_eq!(
            to_value(&accept).unwrap(),
            json!({"action": "accept", "content": {"a": "s3cret"}})
        );
        assert_eq!(to_value(ElicitResult::decline()).unwrap(), json!({"action": "decline"}));
    }

    // ELIC-15
    #[test]
    fn error_data_lists_elicitations() {
        let wire = json!({"elicitations": [{"mode": "url", "message": "m", "url": "u", "elicitationId": "1"}]});
        let data: UrlElicitationRequired = from_value(wire).unwrap();
        assert!(matches!(data.elicitations[0], ElicitParams::Url(_)));
    }
}
