//! `${input:…}`: what a file has its user asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::tree::{Node, Value};

/// What a file wants to know from its user, as `${input:id}`: see
/// [`Config::on_input`](super::Config::on_input).
#[derive(Clone, Debug)]
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

/// Reads `inputs`. What is no input is left out: it is missed where it is named.
pub(super) fn inputs(root: &Node) -> Vec<Input> {
    let Some(Value::List(items)) = root.get("inputs").map(|node| &node.value) else {
        return Vec::new();
    };
    let input = |item: &Node| {
        let text = |name| item.get(name).and_then(Node::text).map(str::to_owned);
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
    items.iter().filter_map(input).collect()
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
