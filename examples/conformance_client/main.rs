//! What the official conformance suite of MCP runs, once for each scenario: it connects to the
//! server the suite names, lists what that declares to offer, and uses all of it.
//!
//! ```text
//! .ci/install-interop && cargo test --test conformance
//! ```
//!
//! It works on any other server, too:
//!
//! ```text
//! cargo run --example conformance_client -- http://localhost:3001/mcp
//! ```

use std::collections::BTreeMap;
use std::env;
use std::error::Error;

use serde::Deserialize;
use serde_json::{Map, Value};
use umcp::protocol::{CreateMessageResult, ElicitResult, Root};
use umcp::{Client, RawJson, Server, Tool, json};

/// What the suite tells a client beyond the URL; a member for every scenario that says more.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Context {
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Deserialize)]
struct ToolCall {
    name: String,
    arguments: RawJson,
}

fn main() -> Result<(), Box<dyn Error>> {
    env_logger::init();
    let url = env::args().skip(1).last().ok_or("the URL of a server is missing")?;
    let client = Client::builder()
        .on_elicitation(|_, _| ElicitResult::accept(Map::new()))
        .on_sampling(|_, _| Ok(CreateMessageResult::text("none", "some text")))
        .root(Root::path(env::current_dir()?)?)
        .open(Server::url(url))?;
    agreed_as_expected(&client)?;

    let offers = client.capabilities();
    if offers.tools.is_some() {
        let tools = client.list_tools()?;
        for ToolCall { name, arguments } in tool_calls(&tools)? {
            println!("{name}: {}", client.call_tool(&name, arguments)?.into_result()?.text());
        }
    }
    if offers.resources.is_some() {
        for resource in client.list_resources()? {
            let contents = client.read_resource(&resource.uri)?.contents;
            println!("{}: {} contents", resource.uri, contents.len());
        }
    }
    if offers.prompts.is_some() {
        for prompt in client.list_prompts()? {
            let required = prompt.arguments.iter().filter(|argument| argument.required);
            let arguments = required.map(|argument| (&argument.name, "some text"));
            let messages = client.get_prompt(&prompt.name, arguments)?.messages;
            println!("{}: {} messages", prompt.name, messages.len());
        }
    }
    client.close();
    Ok(())
}

/// Nothing is pinned: the client is to find out by itself what the suite speaks.
fn agreed_as_expected(client: &Client) -> Result<(), Box<dyn Error>> {
    let agreed = client.protocol_version().to_string();
    match env::var("MCP_CONFORMANCE_PROTOCOL_VERSION") {
        Ok(expected) if expected != agreed => {
            Err(format!("the suite speaks {expected}, but {agreed} was agreed on").into())
        }
        _ => Ok(()),
    }
}

/// The calls to make: those the suite asks for, else one of every tool.
fn tool_calls(tools: &[Tool]) -> Result<Vec<ToolCall>, Box<dyn Error>> {
    let context: Context = match env::var("MCP_CONFORMANCE_CONTEXT") {
        Ok(context) => serde_json::from_str(&context)?,
        Err(_) => Context::default(),
    };
    if let Some(calls) = context.tool_calls {
        return Ok(calls);
    }
    let call = |tool: &Tool| ToolCall {
        name: tool.name.clone(),
        arguments: arguments(&tool.input_schema).into(),
    };
    match env::var("MCP_CONFORMANCE_SCENARIO").as_deref() {
        // Its server has a tool to show, and none to call.
        Ok("json-schema-ref-no-deref") => Ok(Vec::new()),
        // One tool is to be told the schema of the other.
        Ok("json-schema-2020-12-preservation") => {
            let tool = tools.iter().find(|tool| tool.name == "json_schema_2020_12_tool");
            let schema = &tool.ok_or("the tool with the schema is missing")?.input_schema;
            let arguments = RawJson::from_value(&json!({ "schema": schema }))?;
            Ok(vec![ToolCall { name: "json_schema_echo".to_owned(), arguments }])
        }
        _ => Ok(tools.iter().map(call).collect()),
    }
}

/// Something of the right type for all that is required.
fn arguments(schema: &RawJson) -> Value {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Schema {
        properties: BTreeMap<String, Value>,
        required: Vec<String>,
    }
    let Schema { properties, required } = schema.parse().unwrap_or_default();
    let argument = |name: &String| match properties.get(name)?.get("type")?.as_str()? {
        "number" | "integer" => Some(json!(2)),
        "boolean" => Some(json!(true)),
        "array" => Some(json!([])),
        "object" => Some(json!({})),
        "null" => Some(Value::Null),
        _ => None,
    };
    let arguments = required.iter().map(|name| {
        let argument = argument(name).unwrap_or_else(|| json!("some text"));
        (name.clone(), argument)
    });
    arguments.collect::<Map<_, _>>().into()
}
