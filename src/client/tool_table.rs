//! Which arguments the tools of a server want in headers (`x-mcp-header`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result, said};
use crate::protocol::x_mcp_header::{HeaderParam, header_params, headers};
use crate::protocol::{ClientRequest, Tool};

/// What the newest schemas say. Only tools that want headers stand here.
#[derive(Default)]
pub(super) struct ToolTable(Mutex<Known>);

#[derive(Default)]
struct Known {
    params: HashMap<String, Arc<[HeaderParam]>>,
    /// About what they take.
    bytes: usize,
}

/// How much is remembered, in bytes. A server whose tools want more than that is asked again for
/// those that were forgotten, when it refuses a call.
const MOST: usize = 16 * 1024 * 1024;

impl ToolTable {
    /// XHDR-9, XHDR-10, XHDR-25: learns from a page of the list, and returns the tools on it that
    /// can be called.
    pub(super) fn learn(&self, server: &str, mut tools: Vec<Tool>) -> Vec<Tool> {
        tools.retain(|tool| match header_params(&tool.input_schema) {
            Ok(params) => {
                self.lock().set(&tool.name, params);
                true
            }
            Err(why) => {
                self.lock().set(&tool.name, Vec::new());
                log::warn!("{server}: left out the tool {:?}: {why}", said(&tool.name));
                false
            }
        });
        tools
    }

    /// The headers of a request, if it is a call of a tool that wants some.
    pub(super) fn headers(&self, request: &ClientRequest) -> Result<Vec<(String, String)>> {
        let Some((tool, arguments)) = request.tool_call() else { return Ok(Vec::new()) };
        let Some(params) = self.lock().params.get(tool).cloned() else { return Ok(Vec::new()) };
        headers(&params, arguments).map_err(|why| Error::new(ErrorKind::InvalidInput, why))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn set(&mut self, tool: &str, params: Vec<HeaderParam>) {
        if let Some(old) = self.params.remove(tool) {
            self.bytes = self.bytes.saturating_sub(cost(tool, &old));
        }
        if params.is_empty() {
            return;
        }
        let bytes = cost(tool, &params);
        if self.bytes.saturating_add(bytes) > MOST {
            *self = Self::default();
        }
        if bytes <= MOST {
            self.bytes += bytes;
            self.params.insert(tool.to_owned(), params.into());
        }
    }
}

fn cost(tool: &str, params: &[HeaderParam]) -> usize {
    size_of::<(String, Arc<[HeaderParam]>)>()
        + tool.len()
        + params.iter().map(HeaderParam::len).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(name: impl Into<String>, header: &str) -> Tool {
        let property = json!({ "type": "string", "x-mcp-header": header });
        Tool::new(name, json!({ "properties": { "a": property } }).into())
    }

    /// How many tools are remembered, and what they take.
    fn size(table: &ToolTable) -> (usize, usize) {
        let known = table.lock();
        (known.params.len(), known.bytes)
    }

    #[test]
    fn what_is_remembered_has_a_limit() {
        let table = ToolTable::default();
        let name = |number: usize| format!("{number}{}", "x".repeat(MOST / 8));
        for number in 0..20 {
            table.learn("server", vec![tool(name(number), "A")]);
            assert!(size(&table).1 <= MOST);
        }
        assert!(table.lock().params.contains_key(&name(19)));
        table.learn("server", vec![tool("x".repeat(MOST), "A")]);
        assert_eq!(size(&table), (0, 0));
    }

    #[test]
    fn what_is_forgotten_takes_nothing() {
        let table = ToolTable::default();
        for header in ["A", "B", "not valid"] {
            table.learn("server", vec![tool("x", header), tool("y", "A")]);
        }
        assert_eq!(size(&table).0, 1);
        table.learn("server", vec![Tool::new("y", json!({}).into())]);
        assert_eq!(size(&table), (0, 0));
    }
}
