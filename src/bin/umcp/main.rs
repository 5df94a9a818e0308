//! The `umcp` command.

fn main() {}
