//! The `umcp` command, as a shell sees it.
