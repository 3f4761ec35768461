//! Standard error, which a separate thread writes, so that its reader cannot block the program.

use std::{
    io::{self, Write},
    sync::{
        OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

#[cfg(unix)]
use std::os::fd::AsFd;

#[cfg(unix)]
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Queues text for standard error and never blocks.
///
/// If standard error is a pipe that is not read, text is dropped while [`MAX_QUEUED`] bytes wait.
/// The number of dropped texts is written once the pipe is read again.
pub(crate) fn write(text: Vec<u8>) {
    // Relaxed: the counters need not agree with each other or with the queue at any moment.
    let size = text.len() + OVERHEAD;
    if QUEUED.fetch_add(size, Relaxed) > MAX_QUEUED {
        QUEUED.fetch_sub(size, Relaxed);
        DROPPED.fetch_add(1, Relaxed);
        return;
    }
    // Ignore an error: the thread could not be started.
    let _ = queue().send(Message::Text(text));
}

/// Returns whether a text would be dropped, and counts it as dropped in this case. A caller need
/// not create the text then.
pub(crate) fn drops() -> bool {
    let is_full = QUEUED.load(Relaxed) > MAX_QUEUED;
    if is_full {
        DROPPED.fetch_add(1, Relaxed);
    }
    is_full
}

/// Waits until all queued text is written. Gives up after [`FLUSH_TIMEOUT`] if the pipe is full,
/// and otherwise after [`MAX_FLUSHES`] times as long, because the thread may get no processor on a
/// busy machine.
pub(crate) fn flush() {
    if let Some(queue) = QUEUE.get() {
        let (done, is_done) = channel();
        let _ = queue.send(Message::Flush(done));
        for _ in 0..MAX_FLUSHES {
            let waited = is_done.recv_timeout(FLUSH_TIMEOUT);
            if waited != Err(RecvTimeoutError::Timeout) || !is_writable(&io::stderr()) {
                return;
            }
        }
    }
}

/// Returns whether a pipe or a terminal accepts more text now.
#[cfg(unix)]
fn is_writable(stream: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

#[cfg(not(unix))]
fn is_writable(_: &io::Stderr) -> bool {
    false
}

enum Message {
    Text(Vec<u8>),
    Flush(Sender<()>),
}

fn queue() -> &'static Sender<Message> {
    QUEUE.get_or_init(|| {
        let (sender, receiver) = channel();
        let thread = thread::Builder::new().name("stderr".to_owned());
        // Ignore an error: without the thread, the text is lost, and the program continues.
        let _ = thread.spawn(move || write_all(&receiver));
        sender
    })
}

fn write_all(messages: &Receiver<Message>) {
    while let Ok(message) = messages.recv() {
        match message {
            Message::Text(text) => {
                // Ignore errors: if standard error is closed, they cannot be reported.
                let _ = io::stderr().write_all(&text);
                QUEUED.fetch_sub(text.len() + OVERHEAD, Relaxed);
                let dropped = DROPPED.swap(0, Relaxed);
                if dropped > 0 {
                    let line = format!(
                        "agentwire: {dropped} log lines dropped because standard error is read too slowly\n"
                    );
                    let _ = io::stderr().write_all(line.as_bytes());
                }
            }
            // Ignore an error: the main thread no longer waits.
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

static QUEUE: OnceLock<Sender<Message>> = OnceLock::new();

/// The size of the queued text.
static QUEUED: AtomicUsize = AtomicUsize::new(0);

/// The number of texts that were dropped since the last report.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The size of the queue in bytes, which is that of some thousands of log lines.
const MAX_QUEUED: usize = 1024 * 1024;

/// The memory of a queued text in addition to its bytes.
const OVERHEAD: usize = 64;

/// The maximum time that the end of the program waits for a reader that does not read.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// How many times the end of the program waits for the thread while the text could be written,
/// which makes 10 s.
const MAX_FLUSHES: usize = 20;

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn only_a_full_stream_is_given_up() {
        let (mut stream, reader) = UnixStream::pair().unwrap();
        stream.set_nonblocking(true).unwrap();
        assert!(is_writable(&stream));
        while stream.write(&[0; 1024]).is_ok() {}
        assert!(!is_writable(&stream));
        // A closed stream ends the wait, because writing fails at once.
        drop(reader);
        assert!(is_writable(&stream));
    }
}
