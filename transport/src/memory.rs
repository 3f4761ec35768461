use std::collections::BTreeMap;
use std::io;
use std::sync::MutexGuard;
use std::task::{Context, Poll};

use tokio::io::DuplexStream;
use tokio::sync::mpsc;

use crate::{Connection, Error, internal::Mutex};

pub(crate) async fn connect(name: &str) -> io::Result<Connection> {
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let queue = names().get(name).cloned().ok_or_else(refused)?;
    let place = queue.reserve().await.map_err(|_| refused())?;
    let (near, far) = tokio::io::duplex(BUFFER);
    place.send(far);
    Ok(Connection::memory(near, name.to_owned()))
}

pub(crate) struct MemoryListener {
    name: String,
    waiting: mpsc::Receiver<DuplexStream>,
}

impl MemoryListener {
    pub(crate) fn bind(name: &str) -> Result<Self, Error> {
        let mut names = names();
        if names.contains_key(name) {
            return Err(Error::NameInUse {
                name: name.to_owned(),
            });
        }
        let (queue, waiting) = mpsc::channel(BACKLOG);
        names.insert(name.to_owned(), queue);
        Ok(Self {
            name: name.to_owned(),
            waiting,
        })
    }

    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        self.waiting.poll_recv(cx).map(|stream| match stream {
            Some(stream) => Ok(Connection::memory(stream, self.name.clone())),
            // The table holds a sender for as long as this listener lives.
            None => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        // First the name, so that nobody finds a queue that is going away. The queue and the
        // connections in it are dropped right after; their clients see the end of the stream.
        names().remove(&self.name);
    }
}

type Names = BTreeMap<String, mpsc::Sender<DuplexStream>>;

fn names() -> MutexGuard<'static, Names> {
    static NAMES: Mutex<Names> = Mutex::new(BTreeMap::new());
    NAMES.lock()
}

/// How many connections can wait to be accepted; further ones wait in `connect`.
const BACKLOG: usize = 128;

/// How many bytes can be on their way, in each direction.
const BUFFER: usize = 64 * 1024;
