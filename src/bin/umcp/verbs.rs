//! What the verbs do: ask the server one thing and print the answer.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use umcp::{Client, CompletionReference, Server};

use crate::arguments::{self, Argument, Given, Members};
use crate::cli::{Cli, Verb};
use crate::complain;
use crate::failure::{Failure, status};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::render;
use crate::text::did_you_mean;

/// Returns the exit status.
pub(crate) fn run(cli: &Cli, interrupt: &Interrupt) -> Result<u8, Failure> {
    let server = cli.server()?;
    let output = Output::new(cli.options.json);
    let open = |server: Server| interrupt.open(server);
    match &cli.verb {
        Verb::Info(_) => info(&open(server)?, output),
        Verb::Tools(_) => {
            let tools = open(server)?.list_tools()?;
            list(output, "tools", &tools, render::tools)
        }
        Verb::Resources(_) => {
            let resources = open(server)?.list_resources()?;
            list(output, "resources", &resources, render::resources)
        }
        Verb::Templates(_) => {
            let templates = open(server)?.list_resource_templates()?;
            list(output, "resourceTemplates", &templates, render::templates)
        }
        Verb::Prompts(_) => {
            let prompts = open(server)?.list_prompts()?;
            list(output, "prompts", &prompts, render::prompts)
        }
        Verb::Call { tool, arguments, args, .. } => {
            let arguments = arguments::parse(arguments)?;
            let base = arguments::base(args.as_deref())?;
            call(&open(server)?, output, tool, &arguments, base)
        }
        Verb::Read { uri, .. } => {
            let result = open(server)?.read_resource(uri)?;
            match output.json {
                true => output.document(&result)?,
                false => output.print(&render::read(&result, output.is_terminal)?)?,
            }
            Ok(status::DONE)
        }
        Verb::Prompt { name, arguments, .. } => {
            let arguments = arguments::parse(arguments)?;
            let texts = texts(&arguments)?;
            let result = open(server)?.get_prompt(name, texts)?;
            show(output, &result, render::prompt)
        }
        Verb::Complete { of, argument, chosen, .. } => {
            let argument = arguments::parse(std::slice::from_ref(argument))?;
            let chosen = arguments::parse(chosen)?;
            let [argument] = argument.as_slice() else {
                return Err(Failure::usage("complete one argument: `name=start`"));
            };
            // A prompt's name is no URI, and a template is nothing else.
            let reference = match of.contains([':', '{']) {
                true => CompletionReference::resource(of),
                false => CompletionReference::prompt(of),
            };
            let start = argument.text()?;
            let others = texts(&chosen)?;
            let client = open(server)?;
            let mut request = client.completion(reference, &argument.name, start);
            for (name, value) in others {
                request = request.chosen(name, value);
            }
            show(output, &request.call()?, |result| {
                result.completion.values.iter().map(|value| format!("{value}\n")).collect()
            })
        }
        Verb::Ping(_) => {
            let millis = open(server)?.ping()?.as_secs_f64() * 1000.0;
            show(output, &json!({ "elapsedMs": millis }), |_| format!("{millis:.1} ms\n"))
        }
    }
}

/// What prompts and completions take: text, whatever it looks like.
fn texts(arguments: &[Argument]) -> Result<Vec<(&str, &str)>, Failure> {
    arguments.iter().map(|argument| Ok((argument.name.as_str(), argument.text()?))).collect()
}

fn show<T: Serialize + ?Sized>(
    output: Output,
    result: &T,
    render: impl FnOnce(&T) -> String,
) -> Result<u8, Failure> {
    match output.json {
        true => output.document(result)?,
        false => output.print(render(result).as_bytes())?,
    }
    Ok(status::DONE)
}

fn list<T: Serialize>(
    output: Output,
    name: &str,
    items: &[T],
    render: impl FnOnce(&[T]) -> String,
) -> Result<u8, Failure> {
    show(output, &BTreeMap::from([(name, items)]), |_| render(items))
}

fn info(client: &Client, output: Output) -> Result<u8, Failure> {
    // What `initialize` would have answered, in either era.
    let mut result = json!({
        "protocolVersion": client.protocol_version().as_str(),
        "era": client.protocol_version().era().to_string(),
        "capabilities": client.capabilities(),
    });
    if let Value::Object(result) = &mut result {
        result.extend(client.server_info().map(|info| ("serverInfo".to_owned(), json!(info))));
        result.extend(client.instructions().map(|text| ("instructions".to_owned(), json!(text))));
    }
    show(output, &result, |_| render::info(client))
}

fn call(
    client: &Client,
    output: Output,
    tool: &str,
    arguments: &[Argument],
    mut all: Members,
) -> Result<u8, Failure> {
    let needs_schema = arguments.iter().any(|argument| matches!(argument.value, Given::Text(_)));
    let schema = if needs_schema { Some(input_schema(client, tool)?) } else { None };
    for argument in arguments {
        all.set(&argument.name, argument.typed(schema.as_ref())?);
    }
    let result = client.call_tool(tool, &all)?;
    show(output, &result, render::call)?;
    if !result.is_error {
        return Ok(status::DONE);
    }
    complain(&format!("{}: the tool `{tool}` reported an error", client.server_name()));
    Ok(status::REFUSED)
}

/// Looks for the tool, on as many pages of the list as it takes.
fn input_schema(client: &Client, name: &str) -> Result<Value, Failure> {
    let mut names = Vec::new();
    for tool in client.tools() {
        let tool = tool?;
        if tool.name == name {
            // What cannot be read as a schema types nothing.
            return Ok(tool.input_schema.to_value().unwrap_or_default());
        }
        names.push(tool.name);
    }
    let guess = did_you_mean(name, names.iter().map(String::as_str));
    let server = client.server_name();
    Err(Failure::refused(format_args!("{server}: there is no tool `{name}`{guess}")))
}
