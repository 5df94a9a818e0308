//! Which figures are measured, and whether they hold.

use std::process::ExitCode;

use super::table::Table;

pub struct Figure {
    pub name: &'static str,
    pub measure: fn(&mut Table),
    /// Set if `--check` measures it: the part of its target by which load may make it miss that.
    pub slack: Option<f64>,
    /// Takes too long to be measured unless it is asked for.
    pub is_slow: bool,
}

pub const fn figure(name: &'static str, measure: fn(&mut Table)) -> Figure {
    Figure { name, measure, slack: None, is_slow: false }
}

/// Missing its target means the same on any machine, however busy it is.
pub const fn immune_to_load(figure: Figure) -> Figure {
    Figure { slack: Some(0.0), ..figure }
}

/// Measures what the command line asks for.
pub fn run(figures: &[Figure], words: &[&str]) -> ExitCode {
    match words {
        ["--check"] => measure(figures, |figure| figure.slack.is_some(), true),
        [] => measure(figures, |figure| !figure.is_slow, false),
        names => {
            let is_unknown = |name: &&&str| figures.iter().all(|figure| figure.name != **name);
            if let Some(unknown) = names.iter().find(is_unknown) {
                let all: Vec<&str> = figures.iter().map(|figure| figure.name).collect();
                eprintln!("no figure is called {unknown}; there are: {}", all.join(", "));
                return ExitCode::FAILURE;
            }
            measure(figures, |figure| names.contains(&figure.name), false)
        }
    }
}

fn measure(figures: &[Figure], wanted: impl Fn(&Figure) -> bool, must_hold: bool) -> ExitCode {
    let mut table = Table::default();
    for figure in figures.iter().filter(|figure| wanted(figure)) {
        eprintln!("{} …", figure.name);
        table.slack = figure.slack.unwrap_or_default();
        (figure.measure)(&mut table);
    }
    println!("{table}");
    if must_hold && table.misses() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What the program was started with. `cargo bench` adds `--bench`; `cargo test --all-targets` does
/// not, and wants no benchmark: then there is nothing to do.
pub fn arguments(name: &str) -> Option<Vec<String>> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let count = arguments.len();
    arguments.retain(|argument| argument != "--bench");
    if arguments.is_empty() && count == 0 {
        eprintln!("`cargo bench --bench {name}` runs the benchmarks");
        return None;
    }
    Some(arguments)
}
