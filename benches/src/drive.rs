use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use crate::{Failure, peers::Peer, process, shape::Shape};

#[derive(Args)]
pub(crate) struct ServeArgs {
    peer: Peer,
    path: String,
}

#[derive(Args)]
pub(crate) struct DriveArgs {
    peer: Peer,
    path: String,
    #[command(flatten)]
    shape: Shape,
    #[arg(long)]
    seconds: f64,
}

/// What one client process has measured; times in microseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) calls: u64,
    pub(crate) calls_per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    /// Of the client. The one who started both adds that of the server.
    pub(crate) cpu: f64,
}

impl ServeArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(self.peer.serve(&self.path));
        runtime.shutdown_background();
        result
    }
}

impl DriveArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let Self {
            peer,
            path,
            shape,
            seconds,
        } = self;
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        // What is slow once is not what is measured.
        let warm_up = Duration::from_secs_f64(seconds / 5.0);
        runtime.block_on(peer.drive(&path, shape, warm_up))?;
        let before = process::cpu_time(std::process::id())?;
        let driven =
            runtime.block_on(peer.drive(&path, shape, Duration::from_secs_f64(seconds)))?;
        let cpu = process::cpu_time(std::process::id())? - before;
        let calls = driven.latency.len();
        let quantile = |quantile| driven.latency.value_at_quantile(quantile) as f64 / 1e3;
        let measured = Measured {
            calls,
            calls_per_second: calls as f64 / driven.elapsed.as_secs_f64(),
            p50: quantile(0.5),
            p99: quantile(0.99),
            p999: quantile(0.999),
            cpu: cpu.as_secs_f64() * 1e6 / calls as f64,
        };
        println!("{}", serde_json::to_string(&measured)?);
        Ok(())
    }
}
