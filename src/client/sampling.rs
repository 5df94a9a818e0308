//! Whether a conversation that a server wants continued is one.

use std::collections::HashSet;

use crate::protocol::{Role, SamplingContent, SamplingMessage};

/// SAMP-8, SAMP-9: what tools were asked is answered in the next message, which holds nothing else.
pub(super) fn check(messages: &[SamplingMessage]) -> Result<(), String> {
    let mut open: HashSet<&str> = HashSet::new();
    for message in messages {
        let results = message.content.iter().filter_map(|it| match it {
            SamplingContent::ToolResult(result) => Some(result.tool_use_id.as_str()),
            _ => None,
        });
        let answered: HashSet<&str> = results.collect();
        if answered != open {
            return Err("the results of tools do not match the uses before them".to_owned());
        }
        let holds_more =
            message.content.iter().any(|it| !matches!(it, SamplingContent::ToolResult(_)));
        if !answered.is_empty() && (holds_more || message.role != Role::User) {
            return Err("results of tools stand in a user's message of their own".to_owned());
        }
        let uses = message.content.iter().filter_map(|it| match it {
            SamplingContent::ToolUse(call) => Some(call.id.as_str()),
            _ => None,
        });
        open = uses.collect();
    }
    match open.is_empty() {
        true => Ok(()),
        false => Err("a use of a tool has no result".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn is_fine(messages: Value) -> bool {
        let messages: Vec<SamplingMessage> = serde_json::from_value(messages).unwrap();
        check(&messages).is_ok()
    }

    fn says(role: &str, content: Value) -> Value {
        json!({ "role": role, "content": content })
    }

    // SAMP-8, SAMP-9
    #[test]
    fn uses_of_tools_have_their_results_in_the_next_message() {
        let text = json!({ "type": "text", "text": "hello" });
        let call = |id: &str| json!({ "type": "tool_use", "id": id, "name": "x", "input": {} });
        let result = |id: &str| json!({ "type": "tool_result", "toolUseId": id, "content": [] });
        let asks = says("user", text.clone());
        assert!(is_fine(json!([])));
        assert!(is_fine(json!([asks, says("assistant", text.clone())])));
        let calls = says("assistant", json!([text, call("1"), call("2")]));
        let results = says("user", json!([result("2"), result("1")]));
        assert!(is_fine(json!([asks, calls, results])));
        assert!(is_fine(json!([asks, calls, results, says("assistant", text.clone())])));
        for wrong in [
            json!([asks, calls]),
            json!([asks, calls, asks]),
            json!([asks, calls, says("user", json!([result("1")]))]),
            json!([asks, calls, says("user", json!([result("1"), result("3")]))]),
            json!([asks, calls, says("user", json!([result("1"), result("2"), text]))]),
            json!([asks, calls, says("assistant", json!([result("1"), result("2")]))]),
            json!([says("user", json!([result("1")]))]),
        ] {
            assert!(!is_fine(wrong.clone()), "{wrong}");
        }
    }
}
