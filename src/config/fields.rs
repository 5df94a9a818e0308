//! Reading the fields of an object, and saying what is wrong with them. No value is shown.

use std::sync::Arc;

use super::fault::{Fault, join, quoted};
use super::tree::{Member, Node, Value, twice};

/// How many items a list or an object of an entry may have.
pub(super) const MOST_ITEMS: usize = 1_000;

/// The longest text, in bytes.
pub(super) const LONGEST: usize = 64 * 1024;

/// A text, and where it stands.
pub(super) struct Text {
    pub(super) written: String,
    /// It is but the name of the variable that has the text.
    pub(super) is_name: bool,
    pub(super) line: usize,
    /// The path of keys to it, or to what it is an item of.
    pub(super) key: Arc<str>,
    /// The rest of the path.
    pub(super) item: String,
}

impl Text {
    pub(super) fn fault(&self, what: impl Into<String>) -> Fault {
        Fault::new(self.line, format!("{}{}", self.key, self.item), what)
    }

    pub(super) fn of_variable(mut self) -> Self {
        self.is_name = true;
        self
    }
}

/// An object of the file, and the path of keys to it.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    pub(super) key: &'a str,
    pub(super) members: &'a [Member],
}

impl<'a> Table<'a> {
    pub(super) fn check(self) -> Result<(), Fault> {
        match twice(self.members) {
            Some((member, first)) => {
                let what = format!("this key stands here twice, first in line {first}: keep one");
                Err(self.fault(member, what))
            }
            None => Ok(()),
        }
    }

    pub(super) fn fault(self, member: &Member, what: impl Into<String>) -> Fault {
        Fault::new(member.line, self.path(member), what)
    }

    pub(super) fn path(self, member: &Member) -> String {
        join(self.key, &member.name)
    }

    pub(super) fn check_count(self, member: &Member, count: usize) -> Result<(), Fault> {
        match count > MOST_ITEMS {
            true => Err(self.fault(member, format!("there are more than {MOST_ITEMS} of these"))),
            false => Ok(()),
        }
    }

    /// The member with one of these names, which all mean the same. Null is as good as none.
    pub(super) fn one(self, names: &[&str]) -> Result<Option<&'a Member>, Fault> {
        let is_given = |member: &&Member| {
            names.contains(&member.name.as_str()) && !matches!(member.node.value, Value::Null)
        };
        let mut found = self.members.iter().filter(is_given);
        match (found.next(), found.next()) {
            (Some(one), Some(other)) => {
                let what =
                    format!("`{}` in line {} says this already: give one", one.name, one.line);
                Err(self.fault(other, what))
            }
            (found, _) => Ok(found),
        }
    }

    pub(super) fn flag(self, name: &str) -> Result<bool, Fault> {
        match self.one(&[name])? {
            None => Ok(false),
            Some(Member { node: Node { value: Value::Bool(yes), .. }, .. }) => Ok(*yes),
            Some(member) => {
                Err(self
                    .fault(member, format!("this is {}, not true or false", member.node.kind())))
            }
        }
    }

    pub(super) fn text(self, names: &[&str]) -> Result<Option<Text>, Fault> {
        self.one(names)?.map(|member| text(&member.node, self.path(member))).transpose()
    }

    pub(super) fn texts(self, names: &[&str]) -> Result<Option<Vec<Text>>, Fault> {
        let Some(member) = self.one(names)? else { return Ok(None) };
        let Value::List(items) = &member.node.value else {
            return Err(self.fault(member, format!("this is {}, not a list", member.node.kind())));
        };
        self.check_count(member, items.len())?;
        let path = self.path(member).into();
        let items = items.iter().enumerate();
        items
            .map(|(index, node)| item(node, &path, format!("[{index}]")))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    pub(super) fn names(self, names: &[&str]) -> Result<Option<Vec<String>>, Fault> {
        let texts = self.texts(names)?;
        Ok(texts.map(|texts| texts.into_iter().map(|text| text.written).collect()))
    }

    pub(super) fn table(self, names: &[&str]) -> Result<Vec<(String, Option<Text>)>, Fault> {
        let Some(member) = self.one(names)? else { return Ok(Vec::new()) };
        let Some(members) = member.node.members() else {
            return Err(
                self.fault(member, format!("this is {}, not an object", member.node.kind()))
            );
        };
        self.check_count(member, members.len())?;
        let path: Arc<str> = self.path(member).into();
        Table { key: &path, members }.check()?;
        let items = members.iter().map(|member| {
            let value = match member.node.value {
                Value::Null => None,
                _ => Some(item(&member.node, &path, format!(".{}", quoted(&member.name)))?),
            };
            Ok((member.name.clone(), value))
        });
        items.collect()
    }
}

/// What can be read as text.
pub(super) fn text(node: &Node, key: String) -> Result<Text, Fault> {
    item(node, &key.into(), String::new())
}

/// The same, of an item: all of them share the path to the list.
fn item(node: &Node, key: &Arc<str>, item: String) -> Result<Text, Fault> {
    let mut text =
        Text { written: String::new(), is_name: false, line: node.line, key: key.clone(), item };
    text.written = match &node.value {
        Value::Text(long) if long.len() > LONGEST => {
            return Err(text.fault(format!("this is longer than {} KiB", LONGEST / 1024)));
        }
        Value::Text(written) => written.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(yes) => yes.to_string(),
        _ => return Err(text.fault(format!("this is {}, not text", node.kind()))),
    };
    match text.written.contains('\0') {
        true => Err(text.fault("there is a NUL in this text")),
        false => Ok(text),
    }
}
