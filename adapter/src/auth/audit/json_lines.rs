//! A record in a file of JSON lines: [`JsonLines`].

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    Audit, AuditEvent, NotRecorded,
    file::{LogFile, Rotation},
    writer::{self, Queue},
};

/// Records events in a file, one JSON object per line.
///
/// A thread writes the file, so no request waits for the disk. Each line has the keys `time`,
/// `seq`, `event` and `outcome` (`allowed` or `denied`), and those of `principal`, `peer`,
/// `namespace`, `agent`, `tool`, `method`, `request_id` and `reason` that are known. The numbers
/// `seq` grow by one with each line, also after a restart and across rotated files. When the file
/// is opened, a line that a killed process has left incomplete is removed.
///
/// Lines are handed to the operating system at once, but not forced to the disk. A file must not be
/// used by two processes.
///
/// Dropping the last clone waits up to 5 s until all events are written.
///
/// ```no_run
/// use agentwire::auth::{JsonLines, Overload};
///
/// # fn example() -> std::io::Result<()> {
/// let audit = JsonLines::file("/var/log/agents/audit.jsonl")
///     .rotate(64 << 20, 10)
///     .overload(Overload::Deny)
///     .open()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct JsonLines(Arc<Handle>);

struct Handle {
    path: PathBuf,
    queue: Arc<Queue>,
    overload: Overload,
}

/// What happens to requests while events cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overload {
    /// Requests wait while the queue of events is full.
    #[default]
    Block,
    /// Requests are refused with `AGENT_UNAVAILABLE` while the queue is full, or the last write has
    /// failed.
    Deny,
    /// Events are lost while the queue is full. Their number is recorded as an event `dropped`.
    Drop,
}

/// The settings of a [`JsonLines`].
#[derive(Debug, Clone)]
#[must_use]
pub struct JsonLinesBuilder {
    path: PathBuf,
    rotation: Rotation,
    overload: Overload,
    capacity: usize,
}

impl JsonLines {
    /// Returns a builder for a record in the file at `path`. The file is created with mode 0600.
    pub fn file(path: impl Into<PathBuf>) -> JsonLinesBuilder {
        JsonLinesBuilder {
            path: path.into(),
            rotation: Rotation {
                max_bytes: MAX_BYTES,
                max_age: None,
                keep: KEEP,
            },
            overload: Overload::default(),
            capacity: CAPACITY,
        }
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Blocks the thread until all events are written, or until `limit` has passed. Returns whether
    /// all events are written.
    #[must_use]
    pub fn flush(&self, limit: Duration) -> bool {
        self.0.queue.flush(limit) == 0
    }
}

impl Audit for JsonLines {
    async fn record(&self, event: AuditEvent) -> Result<(), NotRecorded> {
        let Handle {
            queue, overload, ..
        } = &*self.0;
        if *overload == Overload::Deny && queue.is_failing() {
            return Err(NotRecorded);
        }
        let place = match queue.places.try_acquire() {
            Ok(place) => place,
            Err(_) => match overload {
                // The semaphore is never closed.
                Overload::Block => queue.places.acquire().await.map_err(|_| NotRecorded)?,
                Overload::Deny => return Err(NotRecorded),
                Overload::Drop => {
                    queue.count_dropped();
                    return Ok(());
                }
            },
        };
        place.forget();
        queue.push(event);
        Ok(())
    }
}

impl JsonLinesBuilder {
    /// Sets the size at which the file is renamed to `PATH.1`, and how many renamed files are kept.
    /// The defaults are 10 MiB and 5 files. `PATH.2` is older than `PATH.1`.
    pub fn rotate(mut self, max_bytes: u64, keep: usize) -> Self {
        self.rotation.max_bytes = max_bytes;
        self.rotation.keep = keep;
        self
    }

    /// Sets the age at which the file is renamed, whatever its size. By default, only the size
    /// counts. The age is checked when an event is written.
    pub fn rotate_after(mut self, age: Duration) -> Self {
        self.rotation.max_age = Some(age);
        self
    }

    /// Sets what happens to requests while events cannot be written. The default is
    /// [`Overload::Block`].
    pub fn overload(mut self, overload: Overload) -> Self {
        self.overload = overload;
        self
    }

    /// Sets how many events wait for the disk. The default is 8192, and the minimum is 1.
    pub fn capacity(mut self, events: usize) -> Self {
        self.capacity = events;
        self
    }

    /// Opens the file and starts the thread that writes it.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be opened or repaired.
    pub fn open(self) -> io::Result<JsonLines> {
        let (file, last_seq) = LogFile::open(&self.path, self.rotation)?;
        let queue = Arc::new(Queue::new(self.capacity));
        writer::start(Arc::clone(&queue), file, last_seq)?;
        Ok(JsonLines(Arc::new(Handle {
            path: self.path,
            queue,
            overload: self.overload,
        })))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.flush(MAX_FLUSH);
        self.queue.close();
    }
}

impl fmt::Debug for JsonLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JsonLines").field(&self.path()).finish()
    }
}

const MAX_BYTES: u64 = 10 * 1024 * 1024;
const KEEP: usize = 5;
const CAPACITY: usize = 8192;
const MAX_FLUSH: Duration = Duration::from_secs(5);
