//! Measures the memory of idle connections, in two processes.
//!
//! `idle-connections serve ENDPOINT [CERTIFICATE KEY]` serves an agent, and prints
//! `READY ENDPOINT`. `idle-connections open ENDPOINT COUNT [CA]` opens connections to it, sends one
//! request on each, and prints `OPEN COUNT`. Both answer a line `report` on standard input with
//! `RESIDENT BYTES`, and end when it is closed.

use std::{error::Error, io::Write};

use agentwire::{
    Endpoint, LocalAgent, Message, agent_fn,
    transport::{Connection, Connector, EndpointConnector, TcpOptions},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["serve", endpoint] => serve(endpoint, None).await,
        ["serve", endpoint, certificate, key] => serve(endpoint, Some((certificate, key))).await,
        ["open", endpoint, count] => open(endpoint, count.parse()?, None).await,
        ["open", endpoint, count, ca] => open(endpoint, count.parse()?, Some(ca)).await,
        _ => Err("usage: idle-connections serve|open ENDPOINT …".into()),
    }
}

async fn serve(endpoint: &str, certificate: Option<(&str, &str)>) -> Outcome<()> {
    let echo = agent_fn("echo", |message: Message| async {
        Ok(Message::agent(message.content))
    });
    let builder = LocalAgent::builder(echo)
        .max_connections(20_000)
        .max_connections_per_peer(20_000)
        .endpoint(endpoint);
    #[cfg(feature = "tls-peers")]
    let builder = match certificate {
        Some((certificate, key)) => builder.tls(agentwire::TlsServer::from_pem(certificate, key)?),
        None => builder,
    };
    #[cfg(not(feature = "tls-peers"))]
    let _ = certificate;
    let server = builder.serve().await?;
    report(&format!("READY {}", server.endpoint())).await?;
    server.abort().await;
    Ok(())
}

async fn open(endpoint: &str, count: usize, ca: Option<&str>) -> Outcome<()> {
    let endpoint: Endpoint = endpoint.parse()?;
    let connector = EndpointConnector::new(endpoint, TcpOptions::new());
    #[cfg(feature = "tls-peers")]
    let connector = match ca {
        Some(ca) => connector.with_tls(agentwire::TlsClient::new().ca(ca)?),
        None => connector,
    };
    #[cfg(not(feature = "tls-peers"))]
    let _ = ca;
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        let mut connection = connector.connect().await?;
        ask(&mut connection).await?;
        connections.push(connection);
    }
    report(&format!("OPEN {}", connections.len())).await?;
    for connection in &mut connections {
        // The connections are still usable.
        ask(connection).await?;
    }
    Ok(())
}

/// Sends a request and reads its answer.
async fn ask(connection: &mut Connection) -> Outcome<()> {
    let request = r#"{"version": "1.0", "type": "request", "id": "a", "timestamp": "2026-11-29T12:00:00+00:00", "payload": {"method": "process", "message": {"role": "user", "content": "hello", "metadata": {}, "timestamp": "2026-11-29T12:00:00+00:00"}}}"#;
    let mut frame = u32::try_from(request.len())?.to_be_bytes().to_vec();
    frame.extend_from_slice(request.as_bytes());
    connection.write_all(&frame).await?;
    connection.flush().await?;
    let len = connection.read_u32().await?;
    let mut answer = vec![0; usize::try_from(len)?];
    connection.read_exact(&mut answer).await?;
    Ok(())
}

/// Prints a line, and answers each line of input with the resident memory, until the input ends.
async fn report(line: &str) -> Outcome<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}")?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        if line == "report" {
            writeln!(stdout, "RESIDENT {}", resident()?)?;
        }
    }
    Ok(())
}

/// Returns the resident memory of this process in bytes.
fn resident() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib = kib.ok_or("no resident memory")?.trim();
    Ok(kib.parse::<u64>()? * 1024)
}
