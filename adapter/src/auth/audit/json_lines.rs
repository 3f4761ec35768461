//! A record in a file of JSON lines: [`JsonLines`].

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::sync::TryAcquireError;

use super::{
    Audit, AuditEvent, NotRecorded,
    file::{LogFile, Rotation},
    problem::{AuditProblem, Reporter},
    writer::{self, Lines, Queue},
};

/// Records events in a file, one JSON object per line.
///
/// A thread writes the file, so no request waits for the disk. Each line has the keys `time`,
/// `seq`, `event` and `outcome` (`allowed` or `denied`), and those of `principal`, `peer`,
/// `namespace`, `agent`, `tool`, `method`, `request_id` and `reason` that are known. The numbers
/// `seq` grow by one with each line, also after a restart and across rotated files. When the file
/// is opened, a line that a killed process has left incomplete is removed.
///
/// Lines are handed to the operating system at once, but not forced to the disk. A process that is
/// killed loses the events that its thread has not written, usually those of the last
/// millisecond. A file has one writer: a second server, in this process or another one, cannot open
/// it. A file that another program renames or removes is created anew.
///
/// Dropping the last clone waits up to 5 s until all events are written. A program whose runtime
/// may end before its servers are dropped calls [`close`](Self::close).
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
    reporter: Reporter,
}

/// What happens to requests while events cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Overload {
    /// Requests wait while the queue of events is full or the last write has failed, for example
    /// because the disk is full. Nothing is lost.
    #[default]
    Block,
    /// Requests are refused with `AGENT_UNAVAILABLE` while the queue is full or the last write has
    /// failed. Nothing is processed without a record, but the outcome of a request that was
    /// admitted before may be missing.
    Deny,
    /// Events are lost while the queue is full. Their number is recorded as an event `dropped`, and
    /// reported as an [`AuditProblem`].
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
    reporter: Reporter,
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
            reporter: Reporter::default(),
        }
    }

    /// Starts the thread that writes lines.
    pub(super) fn start(
        lines: impl Lines,
        path: PathBuf,
        last_seq: u64,
        overload: Overload,
        capacity: usize,
        reporter: Reporter,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(capacity));
        writer::start(Arc::clone(&queue), lines, last_seq, reporter.clone())?;
        Ok(Self(Arc::new(Handle {
            path,
            queue,
            overload,
            reporter,
        })))
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
        self.0.queue.flush(limit)
    }

    /// Blocks the thread until all events are written, or until `limit` has passed, and refuses all
    /// later events. Returns the number of events that are lost, which is also reported as an
    /// [`AuditProblem`].
    ///
    /// If the file cannot be written, the events are lost half a second after `limit` at the
    /// latest.
    pub fn close(&self, limit: Duration) -> u64 {
        self.0.close(limit)
    }
}

impl Audit for JsonLines {
    async fn record(&self, event: AuditEvent) -> Result<(), NotRecorded> {
        let Handle {
            queue, overload, ..
        } = &*self.0;
        match overload {
            Overload::Block => queue.wait_until_written().await,
            Overload::Deny if queue.is_failing() => return Err(NotRecorded),
            Overload::Deny | Overload::Drop => {}
        }
        let place = match (queue.places.try_acquire(), overload) {
            (Ok(place), _) => place,
            (Err(TryAcquireError::NoPermits), Overload::Block) => {
                queue.places.acquire().await.map_err(|_| NotRecorded)?
            }
            (Err(TryAcquireError::NoPermits), Overload::Drop) => {
                queue.count_dropped();
                return Ok(());
            }
            (Err(_), _) => return Err(NotRecorded),
        };
        if !queue.push(event) {
            return Err(NotRecorded);
        }
        place.forget();
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

    /// Sets a function that is called when the file cannot be written, when it is written again,
    /// and when events are lost. It must not block. By default, this is only logged, at the levels
    /// `warn` and `info`.
    pub fn on_problem(mut self, report: impl Fn(&AuditProblem) + Send + Sync + 'static) -> Self {
        self.reporter = Reporter::new(report);
        self
    }

    /// Opens the file and starts the thread that writes it.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be opened or repaired, or if another server writes to
    /// it.
    pub fn open(self) -> io::Result<JsonLines> {
        let (file, last_seq) = LogFile::open(&self.path, self.rotation)?;
        JsonLines::start(
            file,
            self.path,
            last_seq,
            self.overload,
            self.capacity,
            self.reporter,
        )
    }
}

impl Handle {
    fn close(&self, limit: Duration) -> u64 {
        let events = self.queue.close(limit);
        if events > 0 {
            self.reporter.report(AuditProblem::Lost { events });
        }
        events
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close(MAX_FLUSH);
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
