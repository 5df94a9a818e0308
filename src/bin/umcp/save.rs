//! `--output`: contents as files.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use umcp::{CallToolResult, ContentBlock, ReadResourceResult, ResourceContents};

use crate::complain;
use crate::failure::Failure;
use crate::output::Output;

/// Where contents go.
#[derive(Debug)]
pub(crate) enum Destination {
    Stdout,
    File(PathBuf),
    Directory(PathBuf),
}

/// One content, to become a file.
#[derive(Debug)]
pub(crate) struct Content {
    bytes: Vec<u8>,
    uri: Option<String>,
    mime_type: Option<String>,
    /// A tool's words, which may stand beside what is wanted.
    is_remark: bool,
}

impl Destination {
    /// Finds what is wrong with the path before anything is asked of the server.
    pub(crate) fn new(path: &Path) -> Result<Self, Failure> {
        let wrong = |directory: &Path| {
            let text = format!("`--output`: there is no directory `{}`", directory.display());
            Err(Failure::usage(text))
        };
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout);
        }
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        if path.as_os_str().to_string_lossy().ends_with(std::path::is_separator) {
            return wrong(path);
        }
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() && !parent.is_dir() => wrong(parent),
            _ => Ok(Self::File(path.to_owned())),
        }
    }

    /// Writes the contents: one to a file, any number to a directory, whose new files are printed.
    /// Their names are the server's, so none of them replaces what is there.
    pub(crate) fn save(&self, contents: Vec<Content>, output: Output) -> Result<(), Failure> {
        if contents.is_empty() {
            return Err(Failure::usage("`--output`: the result has no content to write"));
        }
        if let Self::Directory(directory) = self {
            let mut taken = names_in(directory)?;
            for content in &contents {
                let path = directory.join(content.file_name(&mut taken));
                File::create_new(&path)
                    .and_then(|mut file| file.write_all(&content.bytes))
                    .map_err(|error| cannot_write(&path, &error))?;
                output.print(format!("{}\n", path.display()).as_bytes())?;
            }
            return Ok(());
        }
        let (mut remarks, mut wanted): (Vec<_>, Vec<_>) =
            contents.into_iter().partition(|content| content.is_remark);
        if wanted.is_empty() {
            wanted = std::mem::take(&mut remarks);
        }
        match (self, wanted.as_slice()) {
            (Self::File(path), [content]) => {
                fs::write(path, &content.bytes).map_err(|error| cannot_write(path, &error))?;
            }
            (Self::File(path), several) => {
                let (count, path) = (several.len(), path.display());
                let text = "contents, and a file takes one: name a directory that exists instead";
                return Err(Failure::usage(format_args!(
                    "`{path}`: the result has {count} {text}"
                )));
            }
            _ => {
                for content in &wanted {
                    output.write(&content.bytes)?;
                }
            }
        }
        for remark in remarks {
            let text = String::from_utf8_lossy(&remark.bytes).into_owned();
            match self {
                Self::Stdout => complain(&text),
                _ => output.line(text.trim_end_matches('\n')).map(drop)?,
            }
        }
        Ok(())
    }
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format_args!("cannot write `{}`: {error}", path.display()))
}

/// What is in a directory already, as `file_name` takes it.
fn names_in(directory: &Path) -> Result<HashSet<String>, Failure> {
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().to_ascii_lowercase();
    fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(name)).collect())
        .map_err(|error| {
            Failure::usage(format_args!("cannot read `{}`: {error}", directory.display()))
        })
}

/// What was read.
pub(crate) fn of_resource(result: &ReadResourceResult) -> Result<Vec<Content>, Failure> {
    result.contents.iter().map(resource).collect()
}

/// What a tool returned, except links, which are no content.
pub(crate) fn of_call(result: &CallToolResult) -> Result<Vec<Content>, Failure> {
    let mut contents = Vec::new();
    for block in &result.content {
        contents.push(match block {
            ContentBlock::Text(text) => Content {
                is_remark: true,
                ..Content::new(text.text.clone().into_bytes(), "text/plain")
            },
            ContentBlock::Image(image) => Content::new(image.decode()?, &image.mime_type),
            ContentBlock::Audio(audio) => Content::new(audio.decode()?, &audio.mime_type),
            ContentBlock::Resource(embedded) => resource(&embedded.resource)?,
            _ => continue,
        });
    }
    if let Some(structured) = &result.structured_content
        && contents.is_empty()
    {
        contents.push(Content::new(structured.get().into(), "application/json"));
    }
    Ok(contents)
}

fn resource(contents: &ResourceContents) -> Result<Content, Failure> {
    Ok(Content {
        bytes: contents.bytes()?.into_owned(),
        uri: contents.uri().map(str::to_owned),
        mime_type: contents.mime_type().map(str::to_owned),
        is_remark: false,
    })
}

impl Content {
    fn new(bytes: Vec<u8>, mime_type: &str) -> Self {
        Self { bytes, uri: None, mime_type: Some(mime_type.to_owned()), is_remark: false }
    }

    /// A name that no other content has, also where `a` and `A` are one file.
    fn file_name(&self, taken: &mut HashSet<String>) -> String {
        let name = self.uri.as_deref().map(last_segment).filter(|name| !name.is_empty());
        let mut name = name.unwrap_or_else(|| "content".to_owned());
        if !name.contains('.')
            && let Some(extension) = self.mime_type.as_deref().and_then(extension)
        {
            name = format!("{name}.{extension}");
        }
        let (stem, end) = name.rfind('.').map_or((name.as_str(), ""), |dot| name.split_at(dot));
        let mut unique = name.clone();
        let mut number = 2_u64;
        while !taken.insert(unique.to_ascii_lowercase()) {
            unique = format!("{stem}-{number}{end}");
            number += 1;
        }
        unique
    }
}

/// The end of a URI as a file's name that means nothing to any system: no separators, no hidden
/// files, no devices.
fn last_segment(uri: &str) -> String {
    const LONGEST: usize = 100;
    let path = uri.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let segment = path.rsplit(['/', '\\', ':']).next().unwrap_or_default();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '%');
    let mut name: String =
        segment.chars().map(|c| if is_plain(c) { c } else { '_' }).take(LONGEST).collect();
    name = name.trim_start_matches(['.', '-']).trim_end_matches('.').to_owned();
    let stem = name.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let is_port =
        |prefix| stem.strip_prefix(prefix).is_some_and(|n: &str| n.len() == 1 && n != "0");
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL") || is_port("COM") || is_port("LPT") {
        name.insert(0, '_');
    }
    name
}

/// What files of a type usually end in.
fn extension(mime_type: &str) -> Option<&'static str> {
    let bare = mime_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Some(match bare.as_str() {
        "text/plain" => "txt",
        "text/html" => "html",
        "text/markdown" => "md",
        "text/csv" => "csv",
        "application/json" => "json",
        "application/pdf" => "pdf",
        "application/zip" => "zip",
        "image/png" => "png",
        "image/jpeg" => "jpg",
        "image/gif" => "gif",
        "image/webp" => "webp",
        "image/svg+xml" => "svg",
        "audio/wav" | "audio/x-wav" => "wav",
        "audio/mpeg" => "mp3",
        "audio/ogg" => "ogg",
        "video/mp4" => "mp4",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_whatever_the_uri() {
        for (uri, name) in [
            ("file:///a/logo.png", "logo.png"),
            ("file:///a/logo.png?x=/../y#z", "logo.png"),
            ("https://example.com/docs/", "docs"),
            ("memo://7", "7"),
            ("file:///..", ""),
            ("file:///a/../..", ""),
            ("file:///a/.bashrc", "bashrc"),
            ("file:///a/..%2F..%2Fetc%2Fpasswd", "%2F..%2Fetc%2Fpasswd"),
            ("file:///a/..\\..\\evil.exe", "evil.exe"),
            ("C:\\x:stream", "stream"),
            ("file:///a/-rf", "rf"),
            ("file:///a/n\u{1b}[1m\nü.txt", "n__1m__.txt"),
            ("file:///con.txt", "_con.txt"),
            ("file:///com1", "_com1"),
            ("file:///compact", "compact"),
            ("file:///a.", "a"),
            ("", ""),
        ] {
            assert_eq!(last_segment(uri), name, "{uri:?}");
        }
        assert_eq!(last_segment(&"x".repeat(5000)).len(), 100);
    }

    #[test]
    fn no_content_overwrites_another() {
        let mut taken = HashSet::new();
        let mut name = |uri: Option<&str>, mime_type: &str| {
            let uri = uri.map(str::to_owned);
            Content { uri, ..Content::new(Vec::new(), mime_type) }.file_name(&mut taken)
        };
        assert_eq!(name(Some("a:/x.png"), "image/png"), "x.png");
        assert_eq!(name(Some("b:/X.PNG"), "image/png"), "X-2.PNG");
        assert_eq!(name(Some("c:/x.png"), "image/png"), "x-3.png");
        assert_eq!(name(Some("c:/x-2.png"), "image/png"), "x-2-2.png");
        assert_eq!(name(Some("c:/x"), "IMAGE/PNG; a=b"), "x-4.png");
        assert_eq!(name(None, "text/plain"), "content.txt");
        assert_eq!(name(None, "text/plain"), "content-2.txt");
        assert_eq!(name(None, "../../x"), "content");
    }
}
