//! An agent that records its calls in a file, which remains if the process is killed.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use agentwire::{Agent, AgentError, LocalAgent, Message, RequestContext};
use tokio::sync::watch;

use crate::{TestFailure, agent::delay_millis};

/// An agent that records the start and the completion of each call in a file.
///
/// The content of each message is a number, which the agent echoes. The metadata key `do` selects
/// the behaviour: `slow` waits for `ms` milliseconds, and `hold` waits until a call with `release`
/// arrives. After a call with `freeze`, every call waits until a call with `release` arrives. Calls
/// with `freeze` or `release` are not recorded.
#[derive(Debug)]
pub struct RecordingAgent {
    log: File,
    phase: watch::Sender<Phase>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Frozen,
    Released,
}

impl RecordingAgent {
    /// Serves an agent that records its calls in the file at the path `log`. The file must not
    /// exist yet.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be created or the server cannot listen on the endpoint.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the server is closed.
    pub async fn serve(
        endpoint: &str,
        log: &Path,
    ) -> Result<LocalAgent, Box<dyn std::error::Error>> {
        let agent = Self {
            log: File::create_new(log)?,
            phase: watch::Sender::new(Phase::Running),
        };
        Ok(LocalAgent::serve(agent, endpoint).await?)
    }

    /// Writes one line with a single system call, so that killing the process cannot truncate the
    /// line.
    fn record(&self, event: &str, number: u64) -> Result<(), AgentError> {
        Ok((&self.log).write_all(format!("{event} {number}\n").as_bytes())?)
    }
}

impl Agent for RecordingAgent {
    fn name(&self) -> &str {
        "interop"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        let behaviour = message.metadata.get("do").and_then(|value| value.as_str());
        match behaviour {
            Some("freeze") => drop(self.phase.send_replace(Phase::Frozen)),
            Some("release") => drop(self.phase.send_replace(Phase::Released)),
            behaviour => {
                let Some(number) = message.content.as_u64() else {
                    return Err(AgentError::new("the content is not a number"));
                };
                self.record("started", number)?;
                let is_held = behaviour == Some("hold");
                if is_held || *self.phase.borrow() == Phase::Frozen {
                    let mut phase = self.phase.subscribe();
                    phase.wait_for(|phase| *phase == Phase::Released).await?;
                }
                tokio::time::sleep(Duration::from_millis(delay_millis(&message)?)).await;
                self.record("finished", number)?;
            }
        }
        Ok(Message::agent(message.content))
    }
}

/// The file in which a [`RecordingAgent`] records its calls.
#[derive(Debug)]
pub struct CallLog {
    path: PathBuf,
}

/// The recorded events of one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallRecord {
    /// The number of times that the call started.
    pub starts: usize,
    /// Whether the call finished.
    pub is_finished: bool,
}

impl CallLog {
    /// Creates a log for the file at `path`, which does not need to exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Reads the records of all calls, keyed by the number of the call.
    ///
    /// # Errors
    ///
    /// Returns an error if the file does not exist or a line is not a valid record.
    pub fn read(&self) -> Result<BTreeMap<u64, CallRecord>, TestFailure> {
        let mut calls = BTreeMap::<_, CallRecord>::new();
        for line in fs::read_to_string(&self.path)?.lines() {
            let (event, number) = line.split_once(' ').unwrap_or((line, ""));
            let call = calls.entry(number.parse()?).or_default();
            match event {
                "started" => call.starts += 1,
                "finished" => call.is_finished = true,
                _ => return Err(TestFailure::new(format!("{line:?} is not a record"))),
            }
        }
        Ok(calls)
    }
}
