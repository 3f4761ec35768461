//! A relay that forwards bytes and can close connections at any time.

use std::{path::Path, sync::Arc};

use agentwire::transport::internal::Mutex;
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    task::{JoinHandle, JoinSet},
};

use crate::TestFailure;

/// A relay between clients and a server that can close all its connections at any time.
#[derive(Debug)]
pub struct Relay {
    accepting: JoinHandle<()>,
    connections: Arc<Mutex<JoinSet<()>>>,
}

impl Relay {
    /// Listens on the Unix socket `near` and opens a connection to the Unix socket `far` for each
    /// client.
    ///
    /// # Errors
    ///
    /// Returns an error if the relay cannot listen.
    pub fn start(near: &Path, far: &Path) -> Result<Self, TestFailure> {
        let listener = UnixListener::bind(near)?;
        let connections = Arc::<Mutex<JoinSet<()>>>::default();
        let (far, open) = (far.to_owned(), Arc::clone(&connections));
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let far = far.clone();
                let mut open = open.lock();
                while open.try_join_next().is_some() {}
                open.spawn(async move {
                    // If no server listens, the connection of the client is closed.
                    if let Ok(mut server) = UnixStream::connect(&far).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Ok(Self {
            accepting,
            connections,
        })
    }

    /// Closes all connections immediately, even in the middle of a frame.
    pub fn cut(&self) {
        let mut connections = self.connections.lock();
        connections.abort_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}
