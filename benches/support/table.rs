//! The table that is printed: Markdown, to be pasted.

use std::fmt;

use super::samples::Samples;
use crate::clients::Subject;

#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    /// The part of its target by which a figure may miss it and still not fail a check.
    pub slack: f64,
    misses: bool,
}

pub struct Row {
    figure: String,
    values: Vec<(Subject, String)>,
    ratio: String,
    must: String,
    value: Option<(f64, Must)>,
}

/// What a figure must be.
#[derive(Clone, Copy)]
pub enum Must {
    AtMost(f64),
    AtLeast(f64),
}

impl Must {
    fn holds(self, value: f64, slack: f64) -> bool {
        match self {
            Must::AtMost(bound) => value <= bound * (1.0 + slack),
            Must::AtLeast(bound) => value >= bound * (1.0 - slack),
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Must::AtMost(bound) => format!("≤ {bound}{unit}"),
            Must::AtLeast(bound) => format!("≥ {bound}{unit}"),
        }
    }
}

impl Row {
    pub fn new(figure: impl Into<String>) -> Self {
        Self {
            figure: figure.into(),
            values: Vec::new(),
            ratio: String::new(),
            must: String::new(),
            value: None,
        }
    }

    pub fn value(mut self, subject: Subject, value: impl Into<String>) -> Self {
        self.values.push((subject, value.into()));
        self
    }

    pub fn values(mut self, samples: &Samples, show: impl Fn(f64) -> String) -> Self {
        self.values.extend(samples.medians().map(|(subject, value)| (subject, show(value))));
        self
    }

    /// Shows umcp's figure against another's.
    pub fn against(mut self, other: Subject, samples: &Samples, must: Option<Must>) -> Self {
        let ratios = Subject::JUDGED.map(|subject| samples.ratio(subject, other));
        self.ratio = ratios.map(|ratio| format!("{ratio:.2}")).join(" / ");
        match must {
            Some(must) => self.must(ratios[0], must, ""),
            None => self,
        }
    }

    pub fn must(mut self, value: f64, must: Must, unit: &str) -> Self {
        self.must = must.text(unit);
        self.value = Some((value, must));
        self
    }
}

impl Table {
    pub fn add(&mut self, row: Row) {
        self.misses |= row.value.is_some_and(|(value, must)| !must.holds(value, self.slack));
        self.rows.push(row);
    }

    /// For what cannot be measured here.
    pub fn cannot(&mut self, figure: &str, why: &str) {
        self.rows.push(Row { must: why.to_owned(), ..Row::new(figure) });
    }

    pub fn misses(&self) -> bool {
        self.misses
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![vec!["figure".to_owned()]];
        let head = Subject::ALL.iter().map(|subject| subject.name());
        lines[0].extend(head.chain(["ratio", "must", "holds"]).map(str::to_owned));
        for row in &self.rows {
            let value = |subject: &Subject| {
                let found = row.values.iter().find(|(of, _)| of == subject);
                found.map_or_else(|| "–".to_owned(), |(_, value)| value.clone())
            };
            let holds = row.value.map_or("", |(value, must)| match must.holds(value, 0.0) {
                true => "yes",
                false => "NO",
            });
            let mut line = vec![row.figure.clone()];
            line.extend(Subject::ALL.iter().map(value));
            line.extend([row.ratio.clone(), row.must.clone(), holds.to_owned()]);
            lines.push(line);
        }
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
        let widths: Vec<usize> = (0..lines[0].len()).filter_map(width).collect();
        for (number, line) in lines.iter().enumerate() {
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                match column {
                    0 => write!(f, "| {cell:<width$} |")?,
                    _ => write!(f, " {cell:>width$} |")?,
                }
            }
            writeln!(f)?;
            if number == 0 {
                let rule = |(column, width): (usize, &usize)| match column {
                    0 => format!("|{}|", "-".repeat(width + 2)),
                    _ => format!("{}:|", "-".repeat(width + 1)),
                };
                writeln!(f, "{}", widths.iter().enumerate().map(rule).collect::<String>())?;
            }
        }
        Ok(())
    }
}
