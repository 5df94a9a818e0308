//! Text for people: safe on a terminal, laid out, and guessed at.

use std::fmt::Write;
use std::str::Chars;

/// Text without what drives a terminal: escape sequences and control characters, except line
/// breaks and tabs.
pub(crate) fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    // Looked for once only if it is not there, or a hostile text would take forever.
    let mut is_terminated = true;
    while let Some(c) = chars.next() {
        match c {
            '\n' | '\t' => out.push(c),
            '\x1b' => match next_if(&mut chars, |c| matches!(c, '[' | ']' | 'P' | 'X' | '^' | '_'))
            {
                Some('[') => skip_parameters(&mut chars),
                Some(_) if is_terminated => is_terminated = skip_string(&mut chars),
                Some(_) => {}
                None => {
                    while next_if(&mut chars, |c| matches!(c, ' '..='/')).is_some() {}
                    next_if(&mut chars, |c| matches!(c, '0'..='~'));
                }
            },
            '\u{9b}' => skip_parameters(&mut chars),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' if is_terminated => {
                is_terminated = skip_string(&mut chars);
            }
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

fn next_if(chars: &mut Chars<'_>, is_wanted: impl FnOnce(char) -> bool) -> Option<char> {
    let c = chars.clone().next().filter(|c| is_wanted(*c))?;
    chars.next();
    Some(c)
}

/// What follows CSI: parameters and one last character.
fn skip_parameters(chars: &mut Chars<'_>) {
    while next_if(chars, |c| matches!(c, ' '..='?')).is_some() {}
    next_if(chars, |c| matches!(c, '@'..='~'));
}

/// What follows OSC and the like, until BEL or ST. Skips nothing, and says so, if neither comes.
fn skip_string(chars: &mut Chars<'_>) -> bool {
    let mut ahead = chars.clone();
    while let Some(c) = ahead.next() {
        let is_end = matches!(c, '\x07' | '\u{9c}')
            || (c == '\x1b' && next_if(&mut ahead, |c| c == '\\').is_some());
        if is_end {
            *chars = ahead;
            return true;
        }
    }
    false
}

/// The first line that says something.
pub(crate) fn first_line(text: &str) -> &str {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

/// Two columns. What is too long for the first has a line of its own.
pub(crate) fn table(rows: &[(String, String)]) -> String {
    const WIDEST: usize = 40;
    let width = |text: &str| text.chars().count();
    let fits = rows.iter().map(|(left, _)| width(left)).filter(|width| *width <= WIDEST);
    let column = fits.max().unwrap_or(4);
    let mut out = String::new();
    for (left, right) in rows {
        let separator = match width(left) {
            _ if right.is_empty() => String::new(),
            used if used <= column => " ".repeat(column - used + 2),
            _ => format!("\n{}", " ".repeat(column + 2)),
        };
        let _ = writeln!(out, "{left}{separator}{right}");
    }
    out
}

/// JSON text laid out for reading; order and spelling stay as they are.
pub(crate) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut chars = json.chars();
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    let break_line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = chars.next() {
        match c {
            _ if in_string => {
                in_string = is_escaped || c != '"';
                is_escaped = !is_escaped && c == '\\';
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while next_if(&mut chars, char::is_whitespace).is_some() {}
                match next_if(&mut chars, |c| matches!(c, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        break_line(&mut out, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            _ => {
                in_string = c == '"';
                out.extend(Some(c).filter(|c| !c.is_whitespace()));
            }
        }
    }
    out
}

/// `. Did you mean …?`, if one of the names is close.
pub(crate) fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let length = name.chars().count();
    let known = known.into_iter().map(|known| (distance(name, known), known));
    match known.min_by_key(|(distance, _)| *distance) {
        Some((distance, known)) if distance < length && distance <= (length / 3).max(1) => {
            format!(". Did you mean `{}`?", first_line(known))
        }
        _ => String::new(),
    }
}

/// How many characters to add, remove or change; case and the kind of dash do not count.
fn distance(one: &str, other: &str) -> usize {
    let fold = |text: &str| text.to_lowercase().replace('-', "_").chars().collect::<Vec<_>>();
    let (one, other) = (fold(one), fold(other));
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut next = vec![i + 1];
        for (b, pair) in other.iter().zip(row.windows(2)) {
            let [diagonal, above] = pair else { continue };
            let left = next.last().copied().unwrap_or_default();
            next.push((diagonal + usize::from(a != b)).min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_drives_the_terminal() {
        for (text, expected) in [
            ("plain\ttext\n", "plain\ttext\n"),
            ("\x1b[1;31mred\x1b[0m", "red"),
            ("a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c", "abc"),
            ("a\x1bPq#0\x1b\\b\x1b(Bc\x1b7d\x1bce", "abcde"),
            ("\u{9b}2Jx\u{9d}0;t\u{9c}y\u{90}z\x07", "xy"),
            ("bell\x07 back\x08 return\r nul\0 del\x7f", "bell back return nul del"),
            ("unterminated\x1b]0;title", "unterminated0;title"),
            ("cut\x1b[31", "cut"),
            ("cut\x1b", "cut"),
            ("\x1b[31é日本", "é日本"),
        ] {
            assert_eq!(clean(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_hostile_text_is_cleaned_in_time() {
        let text = "\x1b]".repeat(1_000_000);
        assert_eq!(clean(&text), "");
    }

    #[test]
    fn columns_are_aligned() {
        let row = |left: &str, right: &str| (left.to_owned(), right.to_owned());
        let long = "x".repeat(41);
        assert_eq!(
            table(&[row("a", "one"), row("abc", ""), row("abcd", "two"), row(&long, "three")]),
            format!("a     one\nabc\nabcd  two\n{long}\n      three\n")
        );
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn json_is_laid_out_and_otherwise_left_alone() {
        let json = r#"{"b":1.50,"a":[ ],"c":{"d":[1,"x, \"{y}\\"]}, "e" : null}"#;
        let expected = r#"{
  "b": 1.50,
  "a": [],
  "c": {
    "d": [
      1,
      "x, \"{y}\\"
    ]
  },
  "e": null
}"#;
        assert_eq!(pretty(json), expected);
        assert_eq!(pretty(" 5 "), "5");
    }

    #[test]
    fn close_names_are_suggested() {
        let known = ["add", "echo", "get_weather"];
        for (name, expected) in [
            ("ad", ". Did you mean `add`?"),
            ("Echo", ". Did you mean `echo`?"),
            ("get-weather", ". Did you mean `get_weather`?"),
            ("getwether", ". Did you mean `get_weather`?"),
            ("subtract", ""),
            ("b", ""),
        ] {
            assert_eq!(did_you_mean(name, known), expected, "{name}");
        }
        assert_eq!(did_you_mean("b", ["a"]), "");
        assert_eq!(did_you_mean("x", []), "");
    }
}
