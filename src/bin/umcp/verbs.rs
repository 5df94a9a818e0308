//! What the verbs do: ask the server one thing and print the answer.

use std::collections::BTreeMap;

use clap::CommandFactory;
use clap_complete::Shell;
use serde::Serialize;
use serde_json::{Value, json};
use umcp::{CallToolResult, Client, ClientBuilder, CompletionReference, EventKind, Retry, Server};

use crate::arguments::{self, Argument, Given, Members};
use crate::ask;
use crate::cli::{Cli, Verb};
use crate::complain;
use crate::eras;
use crate::failure::{Failure, status};
use crate::interrupt::Interrupt;
use crate::meanwhile;
use crate::output::Output;
use crate::render;
use crate::save::{self, Destination};
use crate::schema;
use crate::servers;
use crate::text::did_you_mean;
use crate::watch::Watch;

/// Returns the exit status.
pub(crate) fn run(cli: &Cli, interrupt: &Interrupt) -> Result<u8, Failure> {
    let output = Output::new(cli.options.json);
    // The verbs without a server.
    match cli.verb {
        Verb::Completions { shell } => return completions(shell, output),
        Verb::Servers => return servers::list(cli.options.config.as_deref(), output),
        _ => {}
    }
    let (server, is_remote) = cli.server()?;
    let connect = |builder, server| connect(cli, interrupt, builder, server);
    let open = |server| connect(Client::builder(), server);
    match &cli.verb {
        Verb::Completions { .. } | Verb::Servers => Ok(status::DONE),
        Verb::Watch { log_level, resources, .. } => {
            let watch = Watch::new(output);
            let client = connect(watch.builder(), server)?;
            watch.run(&client, log_level, resources, is_remote)
        }
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
        Verb::Call { tool, arguments, args, output: path, meanwhile, .. } => {
            let arguments = arguments::parse(arguments)?;
            let base = arguments::base(args.as_deref())?;
            let destination = path.as_deref().map(Destination::new).transpose()?;
            let client = open(server)?;
            let all = typed(&client, tool, &arguments, base, args.is_some())?;
            let request = client.tool(tool).args(&all);
            let result = meanwhile::call(&client, meanwhile, request)?;
            called(&client, output, tool, &result, destination)
        }
        Verb::Read { uri, output: path, meanwhile, .. } => {
            let destination = path.as_deref().map(Destination::new).transpose()?;
            let client = open(server)?;
            let result = meanwhile::call(&client, meanwhile, client.resource(uri))?;
            match destination {
                Some(destination) => destination.save(save::of_resource(&result)?, output)?,
                None if output.json => output.document(&result)?,
                None => output.print(&render::read(&result, output.is_terminal)?)?,
            }
            Ok(status::DONE)
        }
        Verb::Prompt { name, arguments, meanwhile, .. } => {
            let arguments = arguments::parse(arguments)?;
            let texts = texts(&arguments)?;
            let client = open(server)?;
            let request = texts
                .into_iter()
                .fold(client.prompt(name), |request, (name, text)| request.arg(name, text));
            show(output, &meanwhile::call(&client, meanwhile, request)?, render::prompt)
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

/// Connects to the server: the one place where a client is made.
fn connect(
    cli: &Cli,
    interrupt: &Interrupt,
    builder: ClientBuilder,
    server: Server,
) -> Result<Client, Failure> {
    // A call that becomes a task is followed to its end.
    let builder = ask::the_user(eras::remembered(builder)).tasks();
    let retry = Retry::new().attempts(cli.options.retry.saturating_add(1));
    let builder = builder.retry(retry).on(EventKind::Retried, |event| complain(&event.to_string()));
    interrupt.open(builder, server)?.map_err(|error| match cli.wants_legacy() {
        true => Failure::no_legacy_server(error),
        false => error.into(),
    })
}

fn completions(shell: Shell, output: Output) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "umcp", &mut script);
    output.write(&script)?;
    Ok(status::DONE)
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

/// All arguments. The tool's schema is asked for unless everything is JSON already.
fn typed(
    client: &Client,
    tool: &str,
    arguments: &[Argument],
    mut all: Members,
    has_base: bool,
) -> Result<Members, Failure> {
    let is_text = |argument: &Argument| matches!(argument.value, Given::Text(_));
    let is_bare = arguments.is_empty() && !has_base;
    let needs_schema = is_bare || arguments.iter().any(is_text);
    let schema = if needs_schema { Some(input_schema(client, tool)?) } else { None };
    for argument in arguments {
        all.set(&argument.name, argument.typed(schema.as_ref())?);
    }
    let missing = schema.map(|schema| schema::missing(&schema, &all)).unwrap_or_default();
    if missing.is_empty() {
        return Ok(all);
    }
    let missing: Vec<String> = missing.iter().map(|argument| format!("`{argument}`")).collect();
    let missing = missing.join(", ");
    Err(Failure::usage(format_args!("the tool `{tool}` also needs {missing}")))
}

fn called(
    client: &Client,
    output: Output,
    tool: &str,
    result: &CallToolResult,
    destination: Option<Destination>,
) -> Result<u8, Failure> {
    if let Some(destination) = destination.filter(|_| !result.is_error) {
        let saved = save::of_call(result).and_then(|all| destination.save(all, output));
        if saved.is_err() {
            // The tool has run, and may not do so twice: what can be shown is not lost.
            output.print(render::call(result).as_bytes())?;
        }
        return saved.map(|()| status::DONE);
    }
    show(output, result, render::call)?;
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
