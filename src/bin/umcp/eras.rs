//! What era each server speaks, remembered in the user's cache directory: scripts do not pay twice.

use std::env;
use std::path::PathBuf;

use umcp::{ClientBuilder, EraFile};

pub(crate) fn remembered(builder: ClientBuilder) -> ClientBuilder {
    match directory() {
        Some(directory) => builder.era_memory(EraFile::new(directory.join("eras.json"))),
        None => builder,
    }
}

fn directory() -> Option<PathBuf> {
    match env::var_os("UMCP_CACHE_DIR") {
        // Set to nothing: nothing is to be remembered.
        Some(directory) if directory.is_empty() => None,
        Some(directory) => Some(directory.into()),
        None => Some(cache()?.join("umcp")),
    }
}

fn cache() -> Option<PathBuf> {
    let path = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if cfg!(windows) {
        path("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        Some(path("HOME")?.join("Library/Caches"))
    } else {
        path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")))
    }
}
