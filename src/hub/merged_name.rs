//! Names for the tools of many servers in one list, such as models accept.
//!
//! A merged name is what stands for the server, `__`, and what stands for the tool. The first is never
//! the same for two servers of a hub, and has no `__` in it: so whatever a server calls its tools, none
//! of them gets the name of another server's. Each of the two is the name itself wherever that fits,
//! and else what is left of it, with a hash of all of it. So a merged name depends on nothing but the
//! two names, and is the same in every run.

/// Models accept up to so many of `a-z`, `A-Z`, `0-9`, `_` and `-`.
pub(super) const LONGEST: usize = 64;
const BETWEEN: &str = "__";
/// Leaves 38 for the tool.
const LONGEST_SERVER: usize = 24;
/// Hexadecimal digits of a server's hash. Who names the servers is no enemy.
const SERVER_DIGITS: usize = 8;
/// And of a tool's: `_` and so many stand at the end of what is not its own name, and of nothing else.
const TOOL_DIGITS: usize = 16;

/// What stands for a server.
pub(super) fn of_server(name: &str) -> String {
    let is_itself = is_plain(name)
        && name.len() <= LONGEST_SERVER
        && !name.contains(BETWEEN)
        && !name.ends_with('_');
    if is_itself {
        return name.to_owned();
    }
    let left = remains(name, LONGEST_SERVER - SERVER_DIGITS - 1).replace('_', "-");
    format!("{left}-{:.SERVER_DIGITS$}", digits(name))
}

/// What stands for a tool, after what stands for its server.
pub(super) fn of_tool(server: &str, name: &str) -> String {
    let room = LONGEST.saturating_sub(server.len() + BETWEEN.len());
    if is_plain(name) && name.len() <= room && !is_hashed(name) {
        return name.to_owned();
    }
    let left = remains(name, room.saturating_sub(TOOL_DIGITS + 1));
    format!("{left}_{:.TOOL_DIGITS$}", digits(name))
}

/// Whether it stands for a tool without being its name.
pub(super) fn is_hashed(tool: &str) -> bool {
    let is_digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let end = tool.rsplit_once('_').map(|(_, end)| end);
    end.is_some_and(|end| end.len() == TOOL_DIGITS && end.chars().all(is_digit))
}

pub(super) fn join(server: &str, tool: &str) -> String {
    [server, BETWEEN, tool].concat()
}

/// What stands for the server, and what for the tool.
pub(super) fn split(merged: &str) -> Option<(&str, &str)> {
    merged.split_once(BETWEEN)
}

fn is_allowed(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(is_allowed)
}

/// So much of a name as is allowed, for people to recognise it by.
fn remains(name: &str, most: usize) -> String {
    name.chars().take(most).map(|c| if is_allowed(c) { c } else { '-' }).collect()
}

/// FNV-1a of 64 bits, which is the same everywhere and for ever. Whoever lets two of a server's tools
/// have one hash loses one of them, and harms nobody else.
fn digits(name: &str) -> String {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn merged(server: &str, tool: &str) -> String {
        let server = of_server(server);
        join(&server, &of_tool(&server, tool))
    }

    /// Names of all sorts, the same in every run: pieces that matter, put together at random.
    fn strange_names(count: usize) -> Vec<String> {
        const PIECES: [&str; 16] = [
            "",
            "a",
            "b",
            "_",
            "__",
            "___",
            "-",
            ".",
            "/",
            " ",
            "ü",
            "天気",
            "\u{1f980}",
            "\n",
            "0123456789abcdef",
            "a_rather_long_name_of_a_tool_indeed",
        ];
        let mut state = 42_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        let mut name = || (0..random(5)).map(|_| PIECES[random(PIECES.len())]).collect();
        (0..count).map(|_| name()).collect()
    }

    #[test]
    fn a_merged_name_is_fit_for_models_and_no_other_pairs() {
        let (servers, tools) = (strange_names(150), strange_names(150));
        let mut pairs = HashMap::new();
        for (server, tool) in servers.iter().flat_map(|s| tools.iter().map(move |t| (s, t))) {
            // What stands for a tool can itself be the name of one.
            let id = of_server(server);
            for tool in [tool.clone(), of_tool(&id, tool), merged(server, tool)] {
                let name = merged(server, &tool);
                assert!((1..=LONGEST).contains(&name.len()), "{name}");
                assert!(is_plain(&name), "{name}");
                let (of, stands_for) = split(&name).unwrap();
                assert_eq!((of, stands_for), (&*id, &*of_tool(&id, &tool)), "{name}");
                assert!(is_hashed(stands_for) || stands_for == tool, "{name}");
                let pair = (server.clone(), tool);
                let other = pairs.entry(name.clone()).or_insert_with(|| pair.clone());
                assert_eq!(*other, pair, "{name}");
            }
        }
        assert!(pairs.len() > 10_000);
    }

    #[test]
    fn names_are_kept_where_they_fit() {
        let long = "search_in_all_of_the_repositories_of_an_owner";
        for (server, tool, expected) in [
            ("github", "create_issue", "github__create_issue"),
            ("github", "get__it", "github__get__it"),
            ("a-b_c", "_x", "a-b_c___x"),
            ("git hub", "create_issue", "git-hub-4374f3f2__create_issue"),
            ("a__b", "c", "a--b-14873483__c"),
            ("a_", "c", "a--089c2907__c"),
            ("files", "read.file", "files__read-file_16d35b223c2cf4d7"),
            ("files", "", "files___cbf29ce484222325"),
            ("files", long, "files__search_in_all_of_the_repositories_of_an_owner"),
            // One character more than a server's name may have, and a tool's behind it.
            (
                "company-knowledge-base-eu",
                long,
                "company-knowled-5fba4ee3__search_in_all_of_the__1732c68a0c9b5fda",
            ),
        ] {
            assert_eq!(merged(server, tool), expected);
        }
    }

    #[test]
    fn the_hash_is_the_one_that_is_published() {
        // From the authors' test vectors.
        for (text, hash) in
            [("", "cbf29ce484222325"), ("a", "af63dc4c8601ec8c"), ("foobar", "85944171f73967e8")]
        {
            assert_eq!(digits(text), hash);
        }
    }
}
