use std::time::{Duration, Instant};

use agentwire::{Format, LocalAgent, Message, RemoteAgent, agent_fn};
use tokio::task::JoinSet;

use super::{Driven, histogram};
use crate::{Failure, shape::Shape};

pub(super) async fn serve(path: &str) -> Result<(), Failure> {
    let echo = agent_fn("echo", |message: Message| async move {
        Ok(Message::agent(message.content))
    });
    let server = LocalAgent::serve(echo, format!("unix://{path}").as_str()).await?;
    crate::process::ready_until_stdin_ends().await?;
    server.stop().await;
    Ok(())
}

pub(super) async fn drive(
    path: &str,
    shape: Shape,
    duration: Duration,
    format: Format,
) -> Result<Driven, Failure> {
    let remote = RemoteAgent::builder(format!("unix://{path}").as_str())
        .name("echo")
        .format(format)
        .max_connections(shape.connections)
        .max_in_flight_per_connection(shape.in_flight)
        .build()?;
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..shape.connections * shape.in_flight {
        let (remote, text) = (remote.clone(), shape.text());
        callers.spawn(async move {
            let mut latency = histogram()?;
            while start.elapsed() < duration {
                let begun = Instant::now();
                let reply = remote.process(Message::user(text.as_str())).await?;
                latency.record(u64::try_from(begun.elapsed().as_nanos())?)?;
                if reply.text().map(str::len) != Some(text.len()) {
                    return Err("another answer than the echo".into());
                }
            }
            Ok::<_, Failure>(latency)
        });
    }
    let mut latency = histogram()?;
    while let Some(caller) = callers.join_next().await {
        latency.add(caller??)?;
    }
    let elapsed = start.elapsed();
    remote.close().await;
    Ok(Driven { latency, elapsed })
}
