//! The in-process carrier, which connects tasks of one process by name.

use std::{
    collections::BTreeMap,
    io,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{io::DuplexStream, sync::mpsc};

use crate::{Connection, Error, internal::Mutex};

pub(crate) async fn connect(name: &str) -> io::Result<Connection> {
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
    let (name, queue) = {
        let listeners = LISTENERS.lock();
        let (name, queue) = listeners.get_key_value(name).ok_or_else(refused)?;
        (Arc::clone(name), queue.clone())
    };
    let permit = queue.reserve().await.map_err(|_| refused())?;
    let (near, far) = tokio::io::duplex(BUFFER_SIZE);
    permit.send(far);
    Ok(Connection::memory(near, name))
}

pub(crate) struct MemoryListener {
    name: Arc<str>,
    queue: mpsc::Receiver<DuplexStream>,
}

impl MemoryListener {
    pub(crate) fn bind(name: &str) -> Result<Self, Error> {
        let mut listeners = LISTENERS.lock();
        if listeners.contains_key(name) {
            return Err(Error::NameInUse {
                name: name.to_owned(),
            });
        }
        let name: Arc<str> = name.into();
        let (sender, queue) = mpsc::channel(BACKLOG);
        listeners.insert(Arc::clone(&name), sender);
        Ok(Self { name, queue })
    }

    pub(crate) fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Connection>> {
        self.queue.poll_recv(cx).map(|stream| match stream {
            Some(stream) => Ok(Connection::memory(stream, Arc::clone(&self.name))),
            // Unreachable, because `LISTENERS` holds a sender until this listener is dropped.
            None => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        // Remove the entry before the queue is dropped, so that no client finds a queue without a
        // receiver. Clients whose connections are still in the queue read EOF.
        LISTENERS.lock().remove(&self.name);
    }
}

/// The accept queues of all listeners in this process, keyed by name.
static LISTENERS: Mutex<BTreeMap<Arc<str>, mpsc::Sender<DuplexStream>>> =
    Mutex::new(BTreeMap::new());

/// The capacity of an accept queue. If the queue is full, clients wait in `connect`.
const BACKLOG: usize = 128;

/// The number of bytes that can be in transit in each direction of a connection.
const BUFFER_SIZE: usize = 64 * 1024;
