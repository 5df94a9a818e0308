//! What a server wants to know from its user, asked on the terminal. Nobody is asked in a pipe.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};
use umcp::ClientBuilder;
use umcp::config::Input;
use umcp::protocol::{
    Choice, ElicitFormParams, ElicitResult, ElicitSchema, ElicitUrlParams, PrimitiveSchema,
};

use crate::complain;
use crate::meanwhile;
use crate::terminal::Asking;
use crate::text::clean;

/// Has questions of the server answered: by the user at a terminal, else with a no.
pub(crate) fn the_user(builder: ClientBuilder) -> ClientBuilder {
    builder
        .on_elicitation(|form, context| {
            at_the_terminal(context.client().server_name(), |dialog| dialog.form(form))
        })
        .on_url_elicitation(|page, context| {
            at_the_terminal(context.client().server_name(), |dialog| dialog.page(page))
        })
}

fn at_the_terminal(
    server: &str,
    ask: impl FnOnce(&mut Dialog<'_, io::StdinLock<'_>, io::Stderr>) -> io::Result<ElicitResult>,
) -> ElicitResult {
    /// One question at a time.
    static ASKING: Mutex<()> = Mutex::new(());
    let _one = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        complain(&format!(
            "{server}: declined a question, as nobody is at a terminal to answer it"
        ));
        return ElicitResult::decline();
    }
    meanwhile::clear_line();
    let mut dialog = Dialog { server, input: io::stdin().lock(), output: io::stderr() };
    ask(&mut dialog).unwrap_or_else(|_| ElicitResult::cancel())
}

/// Asks for what a configuration file wants to know. `None` without a terminal, or an answer.
pub(crate) fn for_input(input: &Input) -> Option<String> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return None;
    }
    meanwhile::clear_line();
    let asking = Asking::new(input.is_password);
    let mut dialog = Dialog { server: "", input: io::stdin().lock(), output: io::stderr() };
    let answer = dialog.input(input, asking.is_hidden()).ok().flatten();
    if asking.is_hidden() {
        // The user's own was not shown.
        let _ = writeln!(io::stderr());
    }
    answer
}

/// A conversation with the user.
struct Dialog<'a, R, W> {
    server: &'a str,
    input: R,
    output: W,
}

/// What the user may say to a form that is filled in.
const REVIEW: &str = "Send this? [y]es, [e]dit, [n]o, [c]ancel: ";

impl<R: BufRead, W: Write> Dialog<'_, R, W> {
    /// Asks for each field, shows all, and asks whether to send it. The end of the input cancels.
    fn form(&mut self, form: &ElicitFormParams) -> io::Result<ElicitResult> {
        self.say(&format!("{} asks: {}", self.server, form.message))?;
        loop {
            let Some(content) = self.fill_in(&form.requested_schema)? else {
                return Ok(ElicitResult::cancel());
            };
            for (name, value) in &content {
                self.say(&format!("  {name}: {value}"))?;
            }
            loop {
                let Some(answer) = self.read(REVIEW)? else { return Ok(ElicitResult::cancel()) };
                match answer.to_ascii_lowercase().as_str() {
                    "y" | "yes" | "" => return Ok(ElicitResult::accept(content)),
                    "n" | "no" => return Ok(ElicitResult::decline()),
                    "c" | "cancel" => return Ok(ElicitResult::cancel()),
                    "e" | "edit" => break,
                    _ => {}
                }
            }
        }
    }

    /// Returns nothing if nothing is typed: the file may have a default.
    fn input(&mut self, input: &Input, is_hidden: bool) -> io::Result<Option<String>> {
        let mut notes = Vec::new();
        if !input.options.is_empty() {
            notes.push(format!("one of {}", input.options.join(", ")));
        }
        if input.is_password {
            notes.push(if is_hidden { "not shown" } else { "shown as you type" }.to_owned());
        }
        let what = input.description.as_deref().unwrap_or(&input.id);
        let notes =
            if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
        let default = match &input.default {
            Some(default) if !input.is_password => format!(" [{default}]"),
            _ => String::new(),
        };
        loop {
            let Some(answer) = self.read(&format!("{what}{notes}{default}: "))? else {
                return Ok(None);
            };
            if answer.is_empty() {
                return Ok(None);
            }
            if input.options.is_empty() || input.options.contains(&answer) {
                return Ok(Some(answer));
            }
            self.say("  this is none of the options")?;
        }
    }

    /// ELIC-11: shows where it leads, and opens nothing.
    fn page(&mut self, page: &ElicitUrlParams) -> io::Result<ElicitResult> {
        let host = page.host().unwrap_or_default();
        self.say(&format!(
            "{} wants you to visit a page at {host}: {}",
            self.server, page.message
        ))?;
        self.say(&format!("  {}", page.url))?;
        loop {
            let answer = self.read("Will you? Open it yourself. [y]es, [n]o, [c]ancel: ")?;
            match answer.unwrap_or_else(|| "c".to_owned()).to_ascii_lowercase().as_str() {
                "y" | "yes" => return Ok(ElicitResult::accept_url()),
                "n" | "no" => return Ok(ElicitResult::decline()),
                "c" | "cancel" => return Ok(ElicitResult::cancel()),
                _ => {}
            }
        }
    }

    /// Returns nothing at the end of the input.
    fn fill_in(&mut self, schema: &ElicitSchema) -> io::Result<Option<Map<String, Value>>> {
        let mut content = Map::new();
        for (name, field) in &schema.properties {
            let is_required = schema.is_required(name);
            // One that does not fit the form is the server's mistake.
            let default = field.default_value().filter(|it| schema.check(name, it).is_ok());
            let prompt = prompt(name, field, default, is_required);
            loop {
                let Some(text) = self.read(&prompt)? else { return Ok(None) };
                let value = match (text.as_str(), default) {
                    ("", Some(default)) => Some(default.clone()),
                    ("", None) if !is_required => None,
                    ("", None) => {
                        self.say("  this one is needed")?;
                        continue;
                    }
                    (text, _) => {
                        let typed = value(field, text).and_then(|value| {
                            let fits = schema.check(name, &value);
                            fits.map(|()| value).map_err(|why| why.to_string())
                        });
                        match typed {
                            Ok(value) => Some(value),
                            Err(why) => {
                                self.say(&format!("  {why}"))?;
                                continue;
                            }
                        }
                    }
                };
                content.extend(value.map(|value| (name.clone(), value)));
                break;
            }
        }
        Ok(Some(content))
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.output, "{}", indented(text))
    }

    fn read(&mut self, prompt: &str) -> io::Result<Option<String>> {
        write!(self.output, "{}", indented(prompt))?;
        self.output.flush()?;
        let mut line = String::new();
        let came = self.input.read_line(&mut line)?;
        Ok((came > 0).then(|| line.trim().to_owned()))
    }
}

/// What a server writes is not to look like what this program does: no line of it begins like one.
fn indented(text: &str) -> String {
    clean(text).replace('\n', "\n    ")
}

/// `color (red, green; the color of the car) [red]: `
fn prompt(
    name: &str,
    field: &PrimitiveSchema,
    default: Option<&Value>,
    is_required: bool,
) -> String {
    let mut notes: Vec<String> = Vec::new();
    notes.push(match field {
        PrimitiveSchema::String(schema) => match schema.choices() {
            Some(choices) => one_of(&choices),
            None => "text".to_owned(),
        },
        PrimitiveSchema::Number(_) => "a number".to_owned(),
        PrimitiveSchema::Integer(_) => "a whole number".to_owned(),
        PrimitiveSchema::Boolean(_) => "yes or no".to_owned(),
        PrimitiveSchema::Array(schema) => {
            format!("some of {}, with commas between them", one_of(&schema.choices()))
        }
        _ => "JSON".to_owned(),
    });
    notes.extend(field.description().map(str::to_owned));
    if !is_required {
        notes.push("may be left out".to_owned());
    }
    let title = field.title().unwrap_or(name);
    let default = match default {
        Some(Value::String(text)) => format!(" [{text}]"),
        Some(value) => format!(" [{value}]"),
        None => String::new(),
    };
    format!("  {title} ({}){default}: ", notes.join("; "))
}

fn one_of(choices: &[Choice]) -> String {
    let name = |choice: &Choice| match &choice.title {
        Some(title) => format!("{} = {title}", choice.value),
        None => choice.value.clone(),
    };
    choices.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// What was typed, as a value of the field's type.
fn value(field: &PrimitiveSchema, text: &str) -> Result<Value, String> {
    match field {
        PrimitiveSchema::String(schema) => match schema.choices() {
            Some(choices) => choice(&choices, text).map(Value::from),
            None => Ok(text.into()),
        },
        PrimitiveSchema::Number(_) => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            number.map(Value::from).ok_or_else(|| "that is no number".to_owned())
        }
        PrimitiveSchema::Integer(_) => {
            text.parse::<i64>().map(Value::from).map_err(|_| "that is no whole number".to_owned())
        }
        PrimitiveSchema::Boolean(_) => match text.to_ascii_lowercase().as_str() {
            "y" | "yes" | "true" => Ok(true.into()),
            "n" | "no" | "false" => Ok(false.into()),
            _ => Err("say yes or no".to_owned()),
        },
        PrimitiveSchema::Array(schema) => {
            let choices = schema.choices();
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(|part| choice(&choices, part).map(Value::from)).collect()
        }
        _ => serde_json::from_str(text).map_err(|_| "that is no JSON".to_owned()),
    }
}

/// A choice by what is sent or by what is shown.
fn choice(choices: &[Choice], text: &str) -> Result<String, String> {
    let is_it = |choice: &&Choice| choice.value == text || choice.title.as_deref() == Some(text);
    let found = choices.iter().find(is_it).map(|choice| choice.value.clone());
    found.ok_or_else(|| format!("choose one of {}", one_of(choices)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use umcp::config::{Config, Dialect};
    use umcp::protocol::ElicitAction;

    use super::*;

    /// What comes of what is typed, and what is shown meanwhile.
    fn filled_in(fields: &str, required: &str, typed: &str) -> (ElicitResult, String) {
        // As text, which keeps its order.
        let schema = format!(r#"{{"properties":{{{fields}}},"required":[{required}]}}"#);
        let form = ElicitFormParams::new("Who are you?", serde_json::from_str(&schema).unwrap());
        let mut dialog = Dialog { server: "peer", input: typed.as_bytes(), output: Vec::new() };
        let result = dialog.form(&form).unwrap();
        (result, String::from_utf8(dialog.output).unwrap())
    }

    // ELIC-11
    #[test]
    fn fields_are_typed_by_the_schema_and_reviewed() {
        let fields = r#"
            "name": { "type": "string", "description": "as in your passport" },
            "age": { "type": "integer" },
            "size": { "type": "number", "default": 1.5, "maximum": 9 },
            "floor": { "type": "integer", "default": "ground" },
            "member": { "type": "boolean" },
            "color": { "type": "string", "oneOf": [{ "const": "r", "title": "Red" }, { "const": "g" }] },
            "days": { "type": "array", "items": { "enum": ["mon", "tue"] } }
        "#;
        let typed = "\nAda\nx\n36\n10\n\n\nperhaps\ny\nblue\nRed\nmon, tue\n?\ny\n";
        let (result, shown) = filled_in(fields, r#""name""#, typed);
        let expected = json!({
            "name": "Ada", "age": 36, "size": 1.5, "member": true, "color": "r", "days": ["mon", "tue"],
        });
        assert_eq!(json!(result), json!({ "action": "accept", "content": expected }));
        for text in [
            "peer asks: Who are you?\n",
            "  name (text; as in your passport): ",
            "this one is needed",
            "  size (a number; may be left out) [1.5]: ",
            "that is no whole number",
            "\"size\" is too large",
            "  floor (a whole number; may be left out): ",
            "say yes or no",
            "choose one of r = Red, g",
            "  color: \"r\"\n",
            REVIEW,
        ] {
            assert!(shown.contains(text), "{text:?} in {shown}");
        }
    }

    #[test]
    fn a_form_can_be_edited_declined_and_left() {
        let action = |typed| {
            let (result, _) = filled_in(r#""name": { "type": "string" }"#, "", typed);
            (result.action, result.content)
        };
        let content = json!({ "name": "b" }).as_object().cloned();
        assert_eq!(action("a\ne\nb\ny\n"), (ElicitAction::Accept, content));
        assert_eq!(action("\n\n"), (ElicitAction::Accept, Some(Map::new())));
        assert_eq!(action("a\nn\n"), (ElicitAction::Decline, None));
        assert_eq!(action("a\nc\n"), (ElicitAction::Cancel, None));
        assert_eq!(action("a\n"), (ElicitAction::Cancel, None));
        assert_eq!(action(""), (ElicitAction::Cancel, None));
    }

    #[test]
    fn an_input_of_a_file_is_asked_for() {
        let text = r#"{
            "inputs": [
                { "id": "key", "type": "promptString", "description": "The\u001b[2J key", "password": true },
                { "id": "place", "type": "pickString", "options": ["here", "there"], "default": "here" }
            ],
            "servers": { "it": { "command": "${input:key}${input:place}" } }
        }"#;
        let (send, inputs) = std::sync::mpsc::channel();
        let config = Config::parse(text, Dialect::VsCode).unwrap().variables([("A", "")]);
        let config = config.on_input(move |input| {
            send.send(input.clone()).unwrap();
            Some("here".to_owned())
        });
        config.get("it").unwrap().server().unwrap();
        let ask = |input: &Input, typed: &str, is_hidden| {
            let mut dialog = Dialog { server: "", input: typed.as_bytes(), output: Vec::new() };
            let answer = dialog.input(input, is_hidden).unwrap();
            (answer, String::from_utf8(dialog.output).unwrap())
        };
        let (key, place) = (inputs.recv().unwrap(), inputs.recv().unwrap());
        let shown = |text: &str| text.to_owned();
        assert_eq!(ask(&key, "k\n", true), (Some(shown("k")), shown("The key (not shown): ")));
        assert_eq!(ask(&key, "", false), (None, shown("The key (shown as you type): ")));
        let question = "place (one of here, there) [here]: ";
        assert_eq!(ask(&place, "\n", false), (None, shown(question)));
        let (answer, asked) = ask(&place, "nowhere\nthere\n", false);
        assert_eq!(answer.as_deref(), Some("there"));
        assert_eq!(asked, format!("{question}  this is none of the options\n{question}"));
    }

    // ELIC-11, SEC-10, SEC-11, SEC-12
    #[test]
    fn a_page_is_shown_with_its_host_and_not_opened() {
        let action = |typed: &str| {
            let message = "Please sign in\u{1b}[2J\numcp: you are safe";
            let page = ElicitUrlParams::new(message, "https://example.com/x?y=z");
            let mut dialog = Dialog { server: "peer", input: typed.as_bytes(), output: Vec::new() };
            let result = dialog.page(&page).unwrap();
            let shown = String::from_utf8(dialog.output).unwrap();
            assert!(shown.contains("visit a page at example.com: Please sign in"), "{shown}");
            assert!(shown.contains("\n    umcp: you are safe\n"), "{shown}");
            assert!(shown.contains("  https://example.com/x?y=z\n") && !shown.contains('\u{1b}'));
            (result.action, result.content)
        };
        assert_eq!(action("what\ny\n"), (ElicitAction::Accept, None));
        assert_eq!(action("n\n"), (ElicitAction::Decline, None));
        assert_eq!(action(""), (ElicitAction::Cancel, None));
    }
}
