//! Notices changes of files.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Weak},
    thread,
    time::{Duration, SystemTime},
};

use super::Shared;

/// What distinguishes two states of a file. A file that is replaced by renaming has another number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp(Option<(u64, SystemTime, u64)>);

impl Stamp {
    pub(super) fn of(path: &Path) -> Self {
        let metadata = fs::metadata(path).ok();
        Self(metadata.map(|metadata| {
            #[cfg(unix)]
            let number = std::os::unix::fs::MetadataExt::ino(&metadata);
            #[cfg(not(unix))]
            let number = 0;
            let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            (metadata.len(), modified, number)
        }))
    }
}

/// Starts the thread that checks the files. The thread ends within a second after the value is
/// dropped.
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<()> {
    let shared = Arc::downgrade(shared);
    let builder = thread::Builder::new().name("agentwire-auth".to_owned());
    builder.spawn(move || watch(&shared)).map(drop)
}

fn watch(shared: &Weak<Shared>) {
    let mut refused = None;
    loop {
        thread::sleep(INTERVAL);
        let Some(shared) = shared.upgrade() else {
            return;
        };
        let (paths, known) = {
            let state = shared.state.lock();
            (state.loaded.paths.clone(), state.stamps.clone())
        };
        let found: Vec<Stamp> = paths.iter().map(|path| Stamp::of(path)).collect();
        if found == known || refused.as_ref() == Some(&found) {
            continue;
        }
        // A file with an error is reported once for each of its states.
        refused = shared.reload().is_err().then_some(found);
    }
}

const INTERVAL: Duration = Duration::from_secs(1);
