//! Idle connections of each carrier: they stay usable, and their memory is bounded and printed.
//!
//! The number of connections is 1,000, or that of the environment variable `AGENTWIRE_IDLE`. The
//! figures in the documentation are those of a release build with 10,000 connections:
//!
//!     AGENTWIRE_IDLE=10000 cargo test --release -p agentwire-interop-tests --features tls-peers \
//!         --test idle_connections -- --nocapture --test-threads 1

#![cfg(target_os = "linux")]

use std::{env, process::Stdio};

use agentwire_interop_tests::{TestFailure, TestResult, expect_that};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// A process of the program `idle-connections`.
struct Side {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Side {
    /// Starts the program. Returns the process and the rest of its first line.
    async fn start(arguments: &[&str], prefix: &str) -> Result<(Self, String), TestFailure> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_idle-connections"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take();
        let stdout = stdout.ok_or_else(|| TestFailure::new("no pipe"))?;
        let mut side = Self {
            child,
            stdin,
            stdout: BufReader::new(stdout).lines(),
        };
        let first = side.line(prefix).await?;
        Ok((side, first))
    }

    async fn line(&mut self, prefix: &str) -> Result<String, TestFailure> {
        let line = self.stdout.next_line().await?.unwrap_or_default();
        let rest = line.strip_prefix(prefix).map(str::to_owned);
        rest.ok_or_else(|| TestFailure::new(format!("{line:?} instead of {prefix:?}")))
    }

    async fn resident(&mut self) -> Result<u64, TestFailure> {
        if let Some(stdin) = &mut self.stdin {
            stdin.write_all(b"report\n").await?;
        }
        Ok(self.line("RESIDENT ").await?.parse()?)
    }

    async fn end(mut self) -> TestResult {
        self.stdin = None;
        let status = self.child.wait().await?;
        expect_that(status.success(), || status.to_string())
    }
}

async fn measure(scheme: &str, certificate: &[&str], ca: &[&str]) -> TestResult {
    let count = env::var("AGENTWIRE_IDLE").unwrap_or_else(|_| "1000".to_owned());
    let number: u64 = count.parse()?;
    let listen = format!("{scheme}://127.0.0.1:0");
    let serve = [&["serve", &listen], certificate].concat();
    let (mut server, endpoint) = Side::start(&serve, "READY ").await?;
    // The first connections allocate what all share.
    let (mut few, _) = Side::start(&[&["open", &endpoint, "10"], ca].concat(), "OPEN ").await?;
    let (server_before, client_before) = (server.resident().await?, few.resident().await?);
    let (mut many, _) = Side::start(&[&["open", &endpoint, &count], ca].concat(), "OPEN ").await?;
    let server_each = server.resident().await?.saturating_sub(server_before) / number;
    let client_each = many.resident().await?.saturating_sub(client_before) / number;
    println!(
        "{scheme}: {number} idle connections, server {server_each} bytes each, client {client_each} bytes each"
    );
    expect_that(server_each < 64 * 1024 && client_each < 64 * 1024, || {
        format!("{server_each} and {client_each} bytes")
    })?;
    few.end().await?;
    many.end().await?;
    server.end().await
}

#[tokio::test]
async fn over_tcp() -> TestResult {
    measure("tcp", &[], &[]).await
}

#[tokio::test]
async fn over_websocket() -> TestResult {
    measure("ws", &[], &[]).await
}

#[cfg(feature = "tls-peers")]
mod over_tls {
    use std::path::Path;

    use super::*;

    /// Issues a certificate that is its own authority.
    async fn certificate(directory: &Path) -> TestResult {
        let mut command = Command::new("openssl");
        command
            .args(["req", "-x509", "-days", "2", "-subj", "/CN=idle", "-nodes"])
            .args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(directory);
        let output = command.output().await?;
        expect_that(output.status.success(), || format!("{output:?}"))
    }

    async fn measure_over(scheme: &str) -> TestResult {
        let directory = tempfile::tempdir()?;
        certificate(directory.path()).await?;
        let [certificate, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
        let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
        measure(scheme, &[&certificate, &key], &[&certificate]).await
    }

    #[tokio::test]
    async fn tls() -> TestResult {
        measure_over("tls").await
    }

    #[tokio::test]
    async fn wss() -> TestResult {
        measure_over("wss").await
    }
}
