//! The tools of all servers in one list, and calling them by the names that they have there.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result, said};
use crate::hub::at_once::at_once;
use crate::hub::member::Member;
use crate::hub::{Hub, merged_name};
use crate::protocol::{CallToolResult, Tool};
use crate::session::CancelToken;

/// A tool of one of a [`Hub`]'s servers, with a name that no other tool of the hub has.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HubTool {
    /// The name for [`Hub::call`]: up to 64 of `a-z`, `A-Z`, `0-9`, `_` and `-`, as models want it.
    pub name: String,
    /// The server's name in the hub.
    pub server: String,
    /// The tool, with the name that it has at its server.
    pub tool: Tool,
}

impl Hub {
    /// Returns the tools of all servers in one list, in the order of adding, and the servers whose
    /// tools are missing in it, with the reason.
    ///
    /// Each tool has a [name](HubTool::name) that no other has, made of its server's and its own:
    /// `weather__get_weather` if both are short and plain, and else with a hash in it. It is the same in
    /// every run, whatever other servers there are. If a server lists two tools of one name, the first
    /// stands. What is kept and how long this blocks is as for [`find_tool`](Self::find_tool).
    ///
    /// ```
    /// # use umcp::memory::Script;
    /// use umcp::{Hub, json};
    ///
    /// # let script = Script::new()
    /// #     .answer("tools/list", json!({ "tools": [{ "name": "get_weather", "inputSchema": {} }] }))
    /// #     .answer("tools/call", json!({ "content": [{ "type": "text", "text": "rain" }] }));
    /// # let server = script.server();
    /// let hub = Hub::connect([("weather", server)]);
    /// let (tools, _missing) = hub.tools();
    /// assert_eq!(tools[0].name, "weather__get_weather");
    /// // The model picks one.
    /// let result = hub.call("weather__get_weather", json!({}))?;
    /// # assert_eq!(result.text(), "rain");
    /// # Ok::<(), umcp::Error>(())
    /// ```
    pub fn tools(&self) -> (Vec<HubTool>, Vec<(String, Error)>) {
        let members = self.wanted();
        let never = CancelToken::new();
        let listed = at_once(&members, |member| member.tools(&never));
        let (mut all, mut missing) = (Vec::new(), Vec::new());
        for (member, tools) in members.iter().zip(listed) {
            match tools {
                Ok(tools) => all.extend(named(member, &tools)),
                Err(error) => missing.push((member.name.to_string(), error)),
            }
        }
        (all, missing)
    }

    /// Calls a tool by the name that [`tools`](Self::tools) gives it, and waits for its result.
    ///
    /// Only its server is asked. If the name does not hold the tool's own, and the list of tools is
    /// not known, that is asked for first.
    ///
    /// # Errors
    ///
    /// As [`call_tool`](Self::call_tool); [`InvalidInput`](ErrorKind::InvalidInput) if there is no such
    /// name.
    pub fn call(&self, name: &str, arguments: impl Serialize) -> Result<CallToolResult> {
        let Some((member, part)) = self.split(name) else {
            let text = format!("no server here has a tool called {:?}", said(name));
            let error = Error::new(ErrorKind::InvalidInput, text);
            return Err(error.hint("Call it as `Hub::tools` does, or by `Hub::call_tool`"));
        };
        let tool = match merged_name::is_hashed(part) {
            false => part.to_owned(),
            true => match member.tool_that(part)? {
                Some(tool) => tool.name,
                None => {
                    let text = format!("it has no tool that {:?} stands for", said(name));
                    return Err(Error::new(ErrorKind::InvalidInput, text).server(&member.name));
                }
            },
        };
        member.client()?.call_tool(tool, arguments)
    }

    /// The server that a merged name begins with, and what stands for the tool.
    pub(super) fn split<'a>(&self, merged: &'a str) -> Option<(Arc<Member>, &'a str)> {
        let (id, tool) = merged_name::split(merged)?;
        Some((self.members().into_iter().find(|member| member.id == id)?, tool))
    }
}

/// The tools of a server under their merged names.
fn named(member: &Member, tools: &[Tool]) -> Vec<HubTool> {
    let mut parts = HashSet::new();
    let mut all = Vec::with_capacity(tools.len());
    for tool in tools {
        let part = merged_name::of_tool(&member.id, &tool.name);
        let name = merged_name::join(&member.id, &part);
        match parts.insert(part) {
            true => all.push(HubTool { name, server: member.name.to_string(), tool: tool.clone() }),
            false => log::warn!("{}: lists the tool {:?} twice", member.name, said(&tool.name)),
        }
    }
    all
}
