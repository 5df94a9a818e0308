//! Results for people.

use std::fmt::Write;

use serde_json::Value;
use umcp::{
    CallToolResult, Client, ContentBlock, GetPromptResult, Prompt, ReadResourceResult, Resource,
    ResourceContents, ResourceTemplate, Tool,
};

use crate::failure::Failure;
use crate::schema::signature;
use crate::text::{clean, first_line, pretty, table};

pub(crate) fn info(client: &Client) -> String {
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    if let Some(server) = client.server_info() {
        let title = server.title.as_ref().filter(|title| **title != server.name);
        let name = match title {
            Some(title) => format!("{title} ({})", server.name),
            None => server.name.clone(),
        };
        row("server", format!("{name} {}", server.version));
    }
    let version = client.protocol_version();
    row("protocol", format!("{version} ({})", version.era()));
    let capabilities = match serde_json::to_value(client.capabilities()) {
        Ok(Value::Object(offers)) => offers.keys().cloned().collect::<Vec<_>>().join(", "),
        _ => String::new(),
    };
    row("capabilities", capabilities);
    if let Some(instructions) = client.instructions() {
        let lines: Vec<&str> = instructions.trim_end().lines().collect();
        row("instructions", lines.join("\n              "));
    }
    table(&rows)
}

pub(crate) fn tools(tools: &[Tool]) -> String {
    let row = |tool: &Tool| {
        let title = tool.title.as_deref();
        (signature(&tool.name, &tool.input_schema), about(title, tool.description.as_deref()))
    };
    table(&tools.iter().map(row).collect::<Vec<_>>())
}

pub(crate) fn resources(resources: &[Resource]) -> String {
    let row = |resource: &Resource| {
        let title = resource.title.as_ref().unwrap_or(&resource.name);
        (resource.uri.clone(), about(Some(title), resource.description.as_deref()))
    };
    table(&resources.iter().map(row).collect::<Vec<_>>())
}

pub(crate) fn templates(templates: &[ResourceTemplate]) -> String {
    let row = |template: &ResourceTemplate| {
        let title = template.title.as_ref().unwrap_or(&template.name);
        (template.uri_template.clone(), about(Some(title), template.description.as_deref()))
    };
    table(&templates.iter().map(row).collect::<Vec<_>>())
}

pub(crate) fn prompts(prompts: &[Prompt]) -> String {
    let row = |prompt: &Prompt| {
        let arguments: Vec<String> = prompt
            .arguments
            .iter()
            .map(|argument| match argument.required {
                true => argument.name.clone(),
                false => format!("{}?", argument.name),
            })
            .collect();
        let call = format!("{}({})", prompt.name, arguments.join(", "));
        (call, about(prompt.title.as_deref(), prompt.description.as_deref()))
    };
    table(&prompts.iter().map(row).collect::<Vec<_>>())
}

fn about(title: Option<&str>, description: Option<&str>) -> String {
    let parts = [title, description].into_iter().flatten().map(first_line);
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
}

/// Text as it is; the structured result only if there is no text, which says the same.
pub(crate) fn call(result: &CallToolResult) -> String {
    let mut out = String::new();
    for block in &result.content {
        push_lines(&mut out, &content(block, WRITES_IT));
    }
    let has_text = result.content.iter().any(|block| block.as_text().is_some());
    if let Some(structured) = result.structured_content.as_ref().filter(|_| !has_text) {
        push_lines(&mut out, &pretty(structured.get()));
    }
    out
}

pub(crate) fn prompt(result: &GetPromptResult) -> String {
    let mut out = String::new();
    for message in &result.messages {
        push_lines(&mut out, &format!("{}: {}", message.role, content(&message.content, "")));
    }
    out
}

/// Text and bytes exactly as they are; on a terminal, bytes are described.
pub(crate) fn read(result: &ReadResourceResult, is_terminal: bool) -> Result<Vec<u8>, Failure> {
    let mut out = Vec::new();
    for contents in &result.contents {
        match contents {
            ResourceContents::Text(text) => {
                out.extend_from_slice(text.text.as_bytes());
                if is_terminal && !text.text.ends_with('\n') {
                    out.push(b'\n');
                }
            }
            ResourceContents::Blob(_) if is_terminal => {
                out.extend_from_slice(resource(contents, WRITES_IT).as_bytes());
                out.push(b'\n');
            }
            ResourceContents::Blob(blob) => match blob.decode() {
                Ok(bytes) => out.extend(bytes),
                Err(error) => {
                    let text = format!("the resource cannot be read: {error}. Try `--json`");
                    return Err(Failure::protocol(text));
                }
            },
            _ => {
                let text = "the resource has neither text nor bytes. Try `--json`";
                return Err(Failure::protocol(text));
            }
        }
    }
    Ok(out)
}

fn push_lines(out: &mut String, text: &str) {
    out.push_str(text);
    if !text.ends_with('\n') {
        out.push('\n');
    }
}

/// What can be done about bytes that are only described.
const WRITES_IT: &str = "; --output FILE writes it";

/// Text as it is, and everything else in one line.
fn content(block: &ContentBlock, hint: &str) -> String {
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => {
            describe(&["image", &image.mime_type], size(image.decode().ok(), hint))
        }
        ContentBlock::Audio(audio) => {
            describe(&["audio", &audio.mime_type], size(audio.decode().ok(), hint))
        }
        ContentBlock::ResourceLink(link) => {
            let mime_type = link.mime_type.as_deref().unwrap_or_default();
            let size = link.size.map(|size| format!("{size} bytes"));
            describe(&["link", &link.uri, mime_type], size)
        }
        ContentBlock::Resource(embedded) => resource(&embedded.resource, hint),
        ContentBlock::Other(unknown) => {
            let kind = unknown.get("type").and_then(Value::as_str);
            describe(&[kind.unwrap_or("content of no known type")], None)
        }
        _ => describe(&["content of no known type"], None),
    }
}

fn resource(contents: &ResourceContents, hint: &str) -> String {
    let size = match contents {
        ResourceContents::Text(text) => Some(format!("{} bytes", text.text.len())),
        ResourceContents::Blob(blob) => size(blob.decode().ok(), hint),
        _ => None,
    };
    let uri = contents.uri().unwrap_or_default();
    describe(&["resource", uri, contents.mime_type().unwrap_or_default()], size)
}

fn size(bytes: Option<Vec<u8>>, hint: &str) -> Option<String> {
    let size = |bytes: Vec<u8>| format!("{} bytes{hint}", bytes.len());
    Some(bytes.map_or("not valid Base64".to_owned(), size))
}

/// `[image image/png, 73 bytes]`
fn describe(parts: &[&str], size: Option<String>) -> String {
    let parts = parts.iter().map(|part| first_line(part)).filter(|part| !part.is_empty());
    let mut line = format!("[{}", parts.collect::<Vec<_>>().join(" "));
    if let Some(size) = size {
        let _ = write!(line, ", {size}");
    }
    clean(&line) + "]"
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn structured_content_is_shown_when_there_is_no_text() {
        let show = |result| call(&from_value::<CallToolResult>(result).unwrap());
        let (text, structured) = (json!([{"type": "text", "text": "5"}]), json!({"sum": 5}));
        assert_eq!(show(json!({"content": text, "structuredContent": structured})), "5\n");
        let expected = "{\n  \"sum\": 5\n}\n";
        assert_eq!(show(json!({"content": [], "structuredContent": structured})), expected);
        assert_eq!(show(json!({"content": [], "structuredContent": null})), "null\n");
        assert_eq!(show(json!({"content": []})), "");
    }

    #[test]
    fn unknown_content_is_described_in_one_line() {
        let show = |block| content(&from_value(block).unwrap(), "");
        assert_eq!(show(json!({"type": "vi\u{1b}[1mdeo\nx", "data": "x"})), "[video]");
        assert_eq!(show(json!({"x": 1})), "[content of no known type]");
        let image = json!({"type": "image", "data": "?", "mimeType": "image/png"});
        assert_eq!(show(image), "[image image/png, not valid Base64]");
    }

    #[test]
    fn contents_are_exact_unless_on_a_terminal() {
        let result = json!({"contents": [
            {"uri": "a:1", "text": "no line break"},
            {"uri": "a:2", "blob": "AAH/", "mimeType": "x/y"},
        ]});
        let result: ReadResourceResult = from_value(result).unwrap();
        assert_eq!(read(&result, false).unwrap(), b"no line break\x00\x01\xff");
        let shown = String::from_utf8(read(&result, true).unwrap()).unwrap();
        assert_eq!(shown, "no line break\n[resource a:2 x/y, 3 bytes; --output FILE writes it]\n");
        for wrong in [json!({"uri": "a:1", "blob": "?"}), json!({"uri": "a:1"})] {
            let result = from_value(json!({"contents": [wrong]})).unwrap();
            assert_eq!(read(&result, false).unwrap_err().status, 6);
        }
    }
}
