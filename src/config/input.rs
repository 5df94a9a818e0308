//! `${input:…}`: what a file has its user asked.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::fault::Fault;
use super::fields::{LONGEST, MOST_ITEMS};
use super::tree::{Node, Value};

/// What a file wants to know from its user, as `${input:id}`: see
/// [`Config::on_input`](super::Config::on_input).
///
/// `Debug` does not show the default of a password.
#[derive(Clone)]
#[non_exhaustive]
pub struct Input {
    /// The name it has in the file.
    pub id: String,
    /// What to ask for, in the file's words.
    pub description: Option<String>,
    /// Whether it is a secret, not to be shown while it is typed.
    pub is_password: bool,
    /// What counts if nobody answers.
    pub default: Option<String>,
    /// The answers there are; empty if any text will do.
    pub options: Vec<String>,
}

impl Input {
    pub(super) fn unknown(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            description: None,
            is_password: true,
            default: None,
            options: Vec::new(),
        }
    }

    /// The variable that answers it: `MCP_INPUT_` and its name, in capitals.
    pub(super) fn variable(&self) -> String {
        let capital =
            |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        format!("MCP_INPUT_{}", self.id.chars().map(capital).collect::<String>())
    }
}

/// Reads `inputs`, by name. What is no input is left out: it is missed where it is named.
pub(super) fn inputs(root: &Node) -> Result<HashMap<String, Input>, Fault> {
    let Some(node) = root.get("inputs") else { return Ok(HashMap::new()) };
    let Value::List(items) = &node.value else { return Ok(HashMap::new()) };
    let too_many = |node: &Node, what: &str| {
        Fault::new(node.line, "inputs", format!("there are more than {MOST_ITEMS} {what}"))
    };
    if items.len() > MOST_ITEMS {
        return Err(too_many(node, "of these"));
    }
    let input = |item: &Node| {
        let text = |name| {
            let text = item.get(name).and_then(Node::text);
            text.filter(|text| text.len() <= LONGEST).map(str::to_owned)
        };
        // Others run a command of the editor's.
        if !matches!(text("type").as_deref(), Some("promptString" | "pickString")) {
            return None;
        }
        let options = match item.get("options").map(|node| &node.value) {
            // Either texts, or objects with a label and a value.
            Some(Value::List(options)) => options
                .iter()
                .filter_map(|option| option.text().or_else(|| option.get("value")?.text()))
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        };
        let password = item.get("password").map(|node| &node.value);
        Some(Input {
            id: text("id")?,
            description: text("description"),
            is_password: matches!(password, Some(Value::Bool(true))),
            default: text("default"),
            options,
        })
    };
    let mut inputs = HashMap::new();
    for item in items {
        if let Some(Value::List(options)) = item.get("options").map(|node| &node.value)
            && options.len() > MOST_ITEMS
        {
            return Err(too_many(item, "options"));
        }
        if let Some(input) = input(item) {
            inputs.entry(input.id.clone()).or_insert(input);
        }
    }
    Ok(inputs)
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let default = match &self.default {
            Some(_) if self.is_password => Some("…"),
            default => default.as_deref(),
        };
        f.debug_struct("Input")
            .field("id", &self.id)
            .field("description", &self.description)
            .field("is_password", &self.is_password)
            .field("default", &default)
            .field("options", &self.options)
            .finish()
    }
}

type Ask = dyn Fn(&Input) -> Option<String> + Send + Sync;

/// Who answers, and what was answered: each input is asked for once.
#[derive(Clone, Default)]
pub(super) struct Answers {
    ask: Option<Arc<Ask>>,
    given: Arc<Mutex<HashMap<String, String>>>,
}

impl Answers {
    pub(super) fn new(ask: impl Fn(&Input) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { ask: Some(Arc::new(ask)), given: Arc::default() }
    }

    pub(super) fn can_ask(&self) -> bool {
        self.ask.is_some()
    }

    /// No lock is held while the user thinks.
    pub(super) fn ask(&self, file: &str, input: &Input) -> Option<String> {
        let key = format!("{}\n{file}", input.id);
        let given = || self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = given().get(&key) {
            return Some(answer.clone());
        }
        let answer = self.ask.as_ref()?(input)?;
        given().insert(key, answer.clone());
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printing_shows_no_password() {
        let mut input = Input::unknown("key");
        input.default = Some("hunter2".to_owned());
        assert!(!format!("{input:?}").contains("hunter2"));
        input.is_password = false;
        assert!(format!("{input:?}").contains("hunter2"));
    }
}
