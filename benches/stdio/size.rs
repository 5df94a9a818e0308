//! The smallest program: how many crates it is built from, and how big it is.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use crate::clients::Subject;
use crate::support::table::{Must, Row, Table};

const PROGRAM: &str = r#"
fn main() -> umcp::Result<()> {
    let client = umcp::Client::spawn(std::env::args_os().skip(1))?;
    println!("{}", client.call_tool("echo", umcp::json!({}))?.into_result()?.text());
    Ok(())
}
"#;

pub fn measure(table: &mut Table) {
    for (name, features, most_crates, most_size) in
        [("stdio only", "default-features = false", 22.0, 0.9), ("default", "", 50.0, 3.5)]
    {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smallest");
        let umcp = env!("CARGO_MANIFEST_DIR");
        fs::create_dir_all(root.join("src")).unwrap();
        fs::write(root.join("src/main.rs"), PROGRAM).unwrap();
        fs::copy(Path::new(umcp).join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
        let manifest = format!(
            "[package]\nname = \"smallest\"\nedition = \"2024\"\n[workspace]\n\
             [dependencies.umcp]\npath = {umcp:?}\n{features}\n\
             [profile.release]\nstrip = true\n"
        );
        fs::write(root.join("Cargo.toml"), manifest).unwrap();

        cargo(&root, &["build", "--release", "--quiet"]);
        let program = format!("target/release/smallest{}", env::consts::EXE_SUFFIX);
        let size = fs::metadata(root.join(program)).unwrap().len() as f64 / (1024.0 * 1024.0);
        let tree = cargo(&root, &["tree", "--edges=normal,build", "--prefix=none", "--format={p}"]);
        let mut crates: Vec<&str> =
            tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
        crates.sort_unstable();
        crates.dedup();
        crates.retain(|name| !matches!(*name, "smallest" | "umcp"));

        let count = crates.len() as f64;
        table.add(
            Row::new(format!("crates, {name}")).value(Subject::Umcp, count.to_string()).must(
                count,
                Must::AtMost(most_crates),
                "",
            ),
        );
        table.add(
            Row::new(format!("smallest program, {name}"))
                .value(Subject::Umcp, format!("{size:.2} MiB"))
                .must(size, Must::AtMost(most_size), " MiB"),
        );
    }
}

fn cargo(root: &Path, arguments: &[&str]) -> String {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(arguments).current_dir(root).env_remove("CARGO_TARGET_DIR");
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
