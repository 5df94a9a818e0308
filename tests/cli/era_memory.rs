//! What era a server speaks is found out once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::{example, run};

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

/// Whether the server is asked for its era.
#[track_caller]
fn asks(command: &mut Command) -> bool {
    run(command).expect(0).stderr.contains("-> server/discover")
}

#[test]
fn the_era_of_a_server_is_found_out_once() {
    let cache = folder("eras");
    let listed = |era| {
        let mut command = example(era, "tools -v");
        command.env("UMCP_CACHE_DIR", &cache);
        command
    };
    assert!(asks(&mut listed("legacy")));
    assert!(!asks(&mut listed("legacy")), "asked although it is remembered");
    // Another server, which is asked as ever: that is how it tells its capabilities.
    assert!(asks(&mut listed("modern")));
    assert!(!asks(&mut listed("legacy")), "forgotten over another server");

    let text = fs::read_to_string(cache.join("eras.json")).unwrap();
    assert!(text.contains("legacy") && text.contains("modern"), "{text}");
    assert!(!text.contains("--serve"), "{text}");
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);

    fs::write(cache.join("eras.json"), "no JSON").unwrap();
    assert!(asks(&mut listed("legacy")));
    assert!(!asks(&mut listed("legacy")));
}

#[test]
fn the_era_is_remembered_in_the_users_cache_or_nowhere() {
    let home = folder("home");
    fs::create_dir(&home).unwrap();
    let (variable, file) = match () {
        () if cfg!(windows) => ("LOCALAPPDATA", "umcp/eras.json"),
        () if cfg!(target_os = "macos") => ("HOME", "Library/Caches/umcp/eras.json"),
        () => ("XDG_CACHE_HOME", "umcp/eras.json"),
    };
    let listed = || {
        let mut command = example("legacy", "tools -v");
        command.env(variable, &home);
        command
    };
    assert!(asks(listed().env("UMCP_CACHE_DIR", "")));
    assert!(asks(listed().env("UMCP_CACHE_DIR", "")));
    assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
    assert!(asks(listed().env_remove("UMCP_CACHE_DIR")));
    assert!(home.join(file).exists());
    assert!(!asks(listed().env_remove("UMCP_CACHE_DIR")));

    let mut nowhere = listed();
    for name in ["UMCP_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"] {
        nowhere.env_remove(name);
    }
    assert!(asks(&mut nowhere));

    // Without the variable of its own, the cache is where every program's is.
    #[cfg(all(unix, not(target_os = "macos")))]
    {
        let in_home = || {
            let mut command = example("legacy", "tools -v");
            command.env("HOME", &home).env_remove("XDG_CACHE_HOME").env_remove("UMCP_CACHE_DIR");
            command
        };
        assert!(asks(&mut in_home()));
        assert!(!asks(&mut in_home()));
        assert!(home.join(".cache/umcp/eras.json").exists());
    }
}
