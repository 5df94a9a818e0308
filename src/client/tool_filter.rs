//! Which of a server's tools there are for this program.

use crate::client::Server;
use crate::error::{Error, ErrorKind, Result};
use crate::protocol::Tool;

/// Patterns for names of tools. Without any, every tool is there.
#[derive(Clone, Debug, Default)]
pub(crate) struct ToolFilter {
    /// `None` includes everything; an empty one nothing.
    include: Option<Vec<String>>,
    exclude: Vec<String>,
}

impl ToolFilter {
    /// Why there is no tool of that name, if there is none.
    fn lacks(&self, tool: &str) -> Option<String> {
        let finds = |pattern: &&String| matches(pattern, tool);
        if let Some(pattern) = self.exclude.iter().find(finds) {
            return Some(format!("`exclude_tools` leaves this tool out, with {pattern:?}"));
        }
        let include = self.include.as_ref()?;
        let is_included = include.iter().any(|pattern| finds(&pattern));
        (!is_included).then(|| "`include_tools` leaves this tool out: no pattern fits".to_owned())
    }

    pub(super) fn retain(&self, tools: &mut Vec<Tool>) {
        tools.retain(|tool| self.lacks(&tool.name).is_none());
    }

    pub(super) fn check(&self, tool: &str) -> Result<()> {
        match self.lacks(tool) {
            Some(why) => Err(Error::new(ErrorKind::InvalidInput, why)),
            None => Ok(()),
        }
    }
}

/// Whether a pattern fits the whole of a name. Takes no longer than reading both: each part is where
/// it is found first, which leaves the most for the others.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

/// For servers of which not every tool is wanted. A tool that is left out is in no list, and a call of
/// it is an error of [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) before anything is sent.
impl Server {
    /// Leaves out every tool whose name fits none of these patterns. Said again, it adds to them.
    ///
    /// In a pattern `*` stands for any characters, or none; everything else for itself. It has to fit
    /// the whole name. Without patterns no tool is left.
    ///
    /// ```
    /// # use umcp::memory::Script;
    /// use umcp::{Client, ErrorKind, json};
    ///
    /// # let server = Script::new().answer("tools/list", json!({ "tools": [
    /// #     { "name": "read_file", "inputSchema": {} }, { "name": "read_secret", "inputSchema": {} },
    /// #     { "name": "write_file", "inputSchema": {} } ] })).server();
    /// let server = server.include_tools(["read_*", "stat"]).exclude_tools(["*secret*"]);
    /// let client = Client::open(server)?;
    /// assert_eq!(client.list_tools()?.len(), 1); // read_file
    /// let error = client.call_tool("write_file", json!({})).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), umcp::Error>(())
    /// ```
    #[must_use]
    pub fn include_tools(mut self, patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let include = self.tool_filter_mut().include.get_or_insert_default();
        include.extend(patterns.into_iter().map(Into::into));
        self
    }

    /// Leaves out every tool whose name fits one of these patterns, whether or not it is
    /// [included](Self::include_tools). As that otherwise; without patterns it changes nothing.
    #[must_use]
    pub fn exclude_tools(mut self, patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.tool_filter_mut().exclude.extend(patterns.into_iter().map(Into::into));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_the_whole_name() {
        for (pattern, fits, does_not) in [
            ("", &[""][..], &["a"][..]),
            ("*", &["", "a", "a*b", "ü\n"], &[]),
            ("read", &["read"], &["Read", "read ", " read", "rea", ""]),
            ("read_*", &["read_", "read_file"], &["read", "xread_"]),
            ("*_file", &["_file", "read_file"], &["_files", "file"]),
            ("*a*", &["a", "bab", "aa"], &["", "b"]),
            ("a*a", &["aa", "aba", "aaa"], &["a", "ab", "ba"]),
            ("a*ab*b", &["aabb", "axabxb", "aababb"], &["aab", "abb", "ab"]),
            ("**", &["", "a"], &[]),
            ("a?[b]", &["a?[b]"], &["axb", "ax[b]"]),
            ("*ü*", &["grün"], &["grun"]),
        ] {
            fits.iter().for_each(|name| assert!(matches(pattern, name), "{pattern:?} {name:?}"));
            does_not.iter().for_each(|it| assert!(!matches(pattern, it), "{pattern:?} {it:?}"));
        }
    }

    #[test]
    fn a_hostile_name_costs_no_more_than_reading_it() {
        // Tried from every place again, this would take some 10^13 steps.
        let (name, pattern) = ("a".repeat(1 << 20), "*a".repeat(1 << 10) + "*b");
        assert!(!matches(&pattern, &name));
    }
}
