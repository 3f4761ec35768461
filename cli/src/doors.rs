//! Where a server listens: endpoints, and sockets that another program has bound.

use agentwire::{Endpoint, TlsServer, transport::Listener};
use clap::Args;

use crate::{
    exit::{CliError, Exit},
    server_args::ServerBuilder,
    socket_file::{SocketFileArgs, SocketFiles},
    sockets::{self, Socket},
};

/// The sockets of a server.
#[derive(Debug, Args)]
pub(crate) struct SocketArgs {
    /// Serve the listening socket that the parent has left open under this number, 0 for standard
    /// input; can be repeated. The sockets of LISTEN_FDS (systemd) are served without an option
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    fd: Vec<i32>,

    #[command(flatten)]
    files: SocketFileArgs,
}

/// Where a server listens.
#[derive(Debug)]
pub(crate) struct Doors {
    endpoints: Vec<Endpoint>,
    sockets: Vec<Socket>,
    tls: Option<TlsServer>,
    files: SocketFiles,
}

impl SocketArgs {
    /// Returns whether the server listens on a socket that it has not bound.
    pub(crate) fn has_sockets(&self) -> bool {
        !self.fd.is_empty() || sockets::are_passed()
    }

    /// Takes the passed sockets. There must be at least one endpoint or socket.
    pub(crate) fn open(
        &self,
        endpoints: Vec<Endpoint>,
        tls: Option<TlsServer>,
    ) -> Result<Doors, CliError> {
        let mut sockets = sockets::passed()?;
        for fd in &self.fd {
            sockets.push(sockets::inherited(*fd)?);
        }
        if endpoints.is_empty() && sockets.is_empty() {
            let problem = "nowhere to listen: give an ENDPOINT, --fd, or sockets in LISTEN_FDS";
            return Err(CliError::new(Exit::Usage, problem));
        }
        Ok(Doors {
            files: self.files.open(&endpoints)?,
            endpoints,
            sockets,
            tls,
        })
    }
}

impl Doors {
    /// Adds the endpoints and the sockets to the builder of a server. Call this method inside the
    /// runtime.
    pub(crate) fn add_to<B: ServerBuilder>(self, mut builder: B) -> Result<B, CliError> {
        builder = builder.with_socket_files(self.files);
        for endpoint in self.endpoints {
            builder = builder.with_endpoint(endpoint);
        }
        for socket in self.sockets {
            let name = socket.name().to_owned();
            let unusable = |error: agentwire::transport::Error| {
                CliError::from_error(Exit::Usage, &error).context(&name)
            };
            let mut listener: Listener = socket.into_listener()?;
            if let Some(tls) = &self.tls {
                listener = listener.with_tls(tls.clone()).map_err(unusable)?;
            }
            builder = builder.with_listener(listener);
        }
        Ok(builder)
    }
}
