use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use agentwire::{Agent, AgentError, LocalAgent, Message, RequestContext};
use tokio::sync::watch;

use crate::{Failure, agent::slow};

/// An agent that notes in a file which calls it begins and which it ends: what is noted outlives a `kill -9`.
///
/// Messages are numbers, and it echoes them. The metadata `do` says what it does: `slow` takes `ms` milliseconds,
/// `hold` waits for a `release`, and after a `freeze` all do. Neither `freeze` nor `release` is noted.
#[derive(Debug)]
pub struct Witness {
    notes: File,
    phase: watch::Sender<Phase>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Frozen,
    Released,
}

impl Witness {
    /// Serves it; it notes in that file, which must not be there yet.
    ///
    /// # Errors
    ///
    /// If the file cannot be made, or the endpoint not be served.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future serves nothing.
    pub async fn serve(
        endpoint: &str,
        notes: &Path,
    ) -> Result<LocalAgent, Box<dyn std::error::Error>> {
        let witness = Self {
            notes: File::create_new(notes)?,
            phase: watch::Sender::new(Phase::Running),
        };
        Ok(LocalAgent::serve(witness, endpoint).await?)
    }

    /// In one write, so that each line is whole.
    fn note(&self, what: &str, number: u64) -> Result<(), AgentError> {
        Ok((&self.notes).write_all(format!("{what} {number}\n").as_bytes())?)
    }
}

impl Agent for Witness {
    fn name(&self) -> &str {
        "interop"
    }

    async fn process(&self, message: Message, _: RequestContext) -> Result<Message, AgentError> {
        let what = message.metadata.get("do").and_then(|what| what.as_str());
        match what {
            Some("freeze") => drop(self.phase.send_replace(Phase::Frozen)),
            Some("release") => drop(self.phase.send_replace(Phase::Released)),
            what => {
                let Some(number) = message.content.as_u64() else {
                    return Err(AgentError::new("the message is no number"));
                };
                self.note("begun", number)?;
                let is_held = what == Some("hold");
                if is_held || *self.phase.borrow() == Phase::Frozen {
                    let mut phase = self.phase.subscribe();
                    phase.wait_for(|phase| *phase == Phase::Released).await?;
                }
                tokio::time::sleep(Duration::from_millis(slow(&message)?)).await;
                self.note("ended", number)?;
            }
        }
        Ok(Message::agent(message.content))
    }
}

/// What a [`Witness`] has noted.
#[derive(Debug)]
pub struct Notes {
    path: PathBuf,
}

impl Notes {
    /// In that file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// How often each call was begun, and whether it was ended.
    ///
    /// # Errors
    ///
    /// If there is no such file, or something else in it.
    pub fn read(&self) -> Result<BTreeMap<u64, (usize, bool)>, Failure> {
        let mut calls = BTreeMap::<_, (usize, bool)>::new();
        for line in fs::read_to_string(&self.path)?.lines() {
            let (what, number) = line.split_once(' ').unwrap_or((line, ""));
            let call = calls.entry(number.parse()?).or_default();
            match what {
                "begun" => call.0 += 1,
                "ended" => call.1 = true,
                _ => return Err(Failure::new(format!("{line:?} is no note"))),
            }
        }
        Ok(calls)
    }
}
