//! Leaving: what must be over before the process goes.

use std::{fs, thread, time::Duration};

/// How sqlx names the threads its SQLite connections live on, as far as the kernel keeps names.
const CATALOG_THREAD: &str = "sqlx-sqlite-wor";
const LOOK: Duration = Duration::from_millis(5);
const LOOKS_MAX: u32 = 2000;

/// Waits, for ten seconds at most, until the catalog's threads are gone.
///
/// Leaving `main` runs OpenSSL's clean-up (`atexit`); a thread of SQLCipher that still closes its connection or frees
/// what OpenSSL keeps per thread would touch freed memory, and the process would end with a crash.
pub(crate) fn wait_for_catalog() {
    for _ in 0..LOOKS_MAX {
        if !catalog_is_open() {
            return;
        }
        thread::sleep(LOOK);
    }
}

fn catalog_is_open() -> bool {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.into_iter().any(|name| name.trim_end() == CATALOG_THREAD)
}
