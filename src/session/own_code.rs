//! Whether the program's own code runs on a thread because of a call.

use std::cell::Cell;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// Runs a handler, or a callback of a call.
pub(crate) fn own_code<R>(run: impl FnOnce() -> R) -> R {
    struct Inside;

    impl Drop for Inside {
        fn drop(&mut self) {
            DEPTH.with(|depth| depth.set(depth.get().saturating_sub(1)));
        }
    }

    DEPTH.with(|depth| depth.set(depth.get().saturating_add(1)));
    let _inside = Inside;
    run()
}

/// Whether that is where this runs.
pub(super) fn is_own_code() -> bool {
    DEPTH.with(|depth| depth.get() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn it_is_so_inside_and_no_longer_also_after_a_panic() {
        assert!(!is_own_code());
        own_code(|| {
            own_code(|| assert!(is_own_code()));
            assert!(is_own_code());
            let elsewhere = std::thread::spawn(is_own_code);
            assert!(!elsewhere.join().unwrap());
        });
        assert!(catch_unwind(|| own_code(|| panic!("as it should"))).is_err());
        assert!(!is_own_code());
    }
}
