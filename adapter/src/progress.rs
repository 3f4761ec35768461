//! Typed progress: stream items that say where a long task is.
//!
//! An agent that works for a long time streams [`Progress`] among its answers. A progress is an
//! ordinary message, with a text for people as its content and the numbers in its metadata, so
//! programs that do not know the convention, in any language, see a plain message ([PROTOCOL 17]).
//!
//! ```
//! use agentwire::{LocalAgent, Message, RemoteAgent, progress::Progress, stream_fn};
//! use futures_util::stream;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> agentwire::Result<()> {
//! let index = stream_fn("index", |_: Message| {
//!     stream::iter([
//!         Ok(Progress::started().into()),
//!         Ok(Progress::processing(1, 2).with_message("reading a.txt").into()),
//!         Ok(Progress::processing(2, 2).with_message("reading b.txt").into()),
//!         Ok(Progress::complete().attach(Message::agent("2 files"))),
//!     ])
//! });
//! let server = LocalAgent::serve(index, "memory://progress").await?;
//!
//! let mut items = RemoteAgent::new(server.endpoint())?.stream(Message::user("docs/"));
//! while let Some(item) = items.next().await {
//!     let item = item?;
//!     match Progress::of(&item) {
//!         Some(progress) if !progress.is_complete() => {
//!             eprintln!("{:?} {:?}", progress.fraction(), progress.message());
//!         }
//!         _ => println!("{}", item.content),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Each item counts as a chunk, so progress keeps a long call within the timeout of its client,
//! which applies to each chunk.
//!
//! [PROTOCOL 17]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#17-progress

use agentwire_codec::{Map, Message, Value};

/// Where a long task is. See the [module](self).
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    state: ProgressState,
    step: Option<u64>,
    total: Option<u64>,
    fraction: Option<f64>,
    message: Option<String>,
}

/// The state of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProgressState {
    /// The task has started.
    Started,
    /// The task is at a step.
    Processing,
    /// The task has ended, and the item may be its result.
    Complete,
    /// The task was cancelled, by somebody else than the caller.
    Cancelled,
    /// The task has failed.
    Error,
}

impl ProgressState {
    /// Returns the name of the state on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Processing => "processing",
            Self::Complete => "complete",
            Self::Cancelled => "cancelled",
            Self::Error => "error",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let states = [
            Self::Started,
            Self::Processing,
            Self::Complete,
            Self::Cancelled,
            Self::Error,
        ];
        states.into_iter().find(|state| state.as_str() == name)
    }
}

impl Progress {
    fn new(state: ProgressState) -> Self {
        Self {
            state,
            step: None,
            total: None,
            fraction: None,
            message: None,
        }
    }

    /// Creates the progress of a task that has started.
    #[must_use]
    pub fn started() -> Self {
        Self::new(ProgressState::Started)
    }

    /// Creates the progress of a task that has done `step` of its steps. The total is `None` if it
    /// is not known.
    #[must_use]
    pub fn processing(step: u64, total: impl Into<Option<u64>>) -> Self {
        Self {
            step: Some(step),
            total: total.into(),
            ..Self::new(ProgressState::Processing)
        }
    }

    /// Creates the progress of a task that has ended. [`attach`](Self::attach) adds the result.
    #[must_use]
    pub fn complete() -> Self {
        Self::new(ProgressState::Complete)
    }

    /// Creates the progress of a task that was cancelled, by somebody else than the caller. The
    /// stream of a caller that leaves is dropped and has no further items.
    #[must_use]
    pub fn cancelled() -> Self {
        Self::new(ProgressState::Cancelled)
    }

    /// Creates the progress of a task that has failed. A stream that ends with an
    /// [`AgentError`](crate::AgentError) tells its caller more.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(ProgressState::Error).with_message(message)
    }

    /// Sets the text for people.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// Sets which part of the task is done, from 0 to 1, if the steps do not say it. Other numbers
    /// become the nearest one.
    #[must_use]
    pub fn with_fraction(mut self, fraction: f64) -> Self {
        self.fraction = part(fraction);
        self
    }

    /// Returns the state of the task.
    #[must_use]
    pub fn state(&self) -> ProgressState {
        self.state
    }

    /// Returns whether the task has ended well, so that the item may be its result.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == ProgressState::Complete
    }

    /// Returns the number of steps that are done.
    #[must_use]
    pub fn step(&self) -> Option<u64> {
        self.step
    }

    /// Returns the number of all steps.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Returns the text for people. An agent has written it, so escape it for a terminal.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    /// Returns which part of the task is done, from 0 to 1, or `None` if it is not known. The
    /// result is never `NaN`.
    #[must_use]
    pub fn fraction(&self) -> Option<f64> {
        match (self.state, self.fraction, self.step, self.total) {
            (ProgressState::Complete, ..) => Some(1.0),
            (_, Some(fraction), ..) => Some(fraction),
            (_, None, Some(step), Some(total)) => part(step as f64 / total as f64),
            _ => None,
        }
    }

    /// Reads the progress of a stream item. Returns `None` for an ordinary message, and for a state
    /// that this version does not know. Values of the wrong type count as missing.
    #[must_use]
    pub fn of(message: &Message) -> Option<Self> {
        let map = message.metadata.get(KEY)?.as_map()?;
        let state = ProgressState::from_name(map.get("state")?.as_str()?)?;
        let number = |key: &str| map.get(key).and_then(Value::as_u64);
        Some(Self {
            state,
            step: number("step"),
            total: number("total"),
            fraction: map.get("progress").and_then(Value::as_f64).and_then(part),
            message: map
                .get("message")
                .and_then(Value::as_str)
                .map(str::to_owned),
        })
    }

    /// Adds the progress to a stream item, such as the result of a task.
    #[must_use]
    pub fn attach(self, message: Message) -> Message {
        let fraction = self.fraction();
        let mut map = Map::from([("state", self.state.as_str())]);
        for (key, number) in [("step", self.step), ("total", self.total)] {
            if let Some(number) = number {
                map.insert(key, number);
            }
        }
        if let Some(fraction) = fraction {
            map.insert("progress", fraction);
        }
        if let Some(message) = self.message {
            map.insert("message", message);
        }
        message.with_metadata(KEY, map)
    }
}

/// Converts a progress into a stream item, whose content is the text for people.
impl From<Progress> for Message {
    fn from(progress: Progress) -> Self {
        let text = progress.message.clone().unwrap_or_default();
        progress.attach(Self::agent(text))
    }
}

/// Returns the nearest number from 0 to 1, or `None` for `NaN`.
fn part(fraction: f64) -> Option<f64> {
    (!fraction.is_nan()).then_some(fraction.clamp(0.0, 1.0))
}

/// The key in the metadata of a stream item (PROTOCOL 17).
const KEY: &str = "progress";

#[cfg(test)]
mod tests {
    use agentwire_codec::map;

    use super::*;

    #[test]
    fn a_progress_survives_the_wire_and_is_a_plain_message() {
        for progress in [
            Progress::started(),
            Progress::started().with_message("warming up"),
            Progress::processing(3, 10).with_message("page 3"),
            Progress::processing(3, None),
            Progress::processing(3, None).with_fraction(0.25),
            Progress::complete(),
            Progress::cancelled().with_message("by the operator"),
            Progress::error("no more paper"),
        ] {
            let message = Message::from(progress.clone());
            assert_eq!(message.role, "agent");
            let text = progress.message().unwrap_or_default();
            assert_eq!(message.text(), Some(text));
            let found = Progress::of(&message).unwrap();
            assert_eq!(found.fraction(), progress.fraction());
            // A fraction that follows from the steps is written out for other readers.
            let found = Progress {
                fraction: progress.fraction,
                ..found
            };
            assert_eq!(found, progress);
        }
        let result = Progress::complete().attach(Message::agent(7).with_metadata("own", 1));
        assert_eq!(result.content.as_i64(), Some(7));
        assert_eq!(result.metadata["own"].as_i64(), Some(1));
        assert!(Progress::of(&result).is_some_and(|progress| progress.is_complete()));
        let expected = map! {"state": "processing", "step": 1, "total": 4, "progress": 0.25};
        let message = Message::from(Progress::processing(1, 4));
        assert_eq!(message.metadata["progress"].as_map(), Some(&expected));
    }

    #[test]
    fn odd_items_are_ordinary_messages_or_lack_the_odd_part() {
        let read =
            |progress: Value| Progress::of(&Message::agent(1).with_metadata("progress", progress));
        assert_eq!(Progress::of(&Message::agent(1)), None);
        for odd in [
            Value::from("half"),
            Value::from(map! {}),
            Value::from(map! {"state": 1}),
            Value::from(map! {"state": "PROCESSING"}),
            Value::from(map! {"state": "from the future"}),
        ] {
            assert_eq!(read(odd.clone()), None, "{odd:?}");
        }
        let odd = map! {"state": "processing", "step": (-1), "total": "x", "progress": f64::NAN};
        let progress = read(odd.into()).unwrap();
        assert_eq!(
            (progress.step(), progress.total(), progress.fraction()),
            (None, None, None)
        );
        for (step, total, progress, expected) in [
            (0_u64, 0_u64, None, None),
            (1, 0, None, Some(1.0)),
            (5, 4, None, Some(1.0)),
            (1, 4, Some(7.0), Some(1.0)),
            (1, 4, Some(-1.0), Some(0.0)),
            (1, 4, Some(1.0), Some(1.0)),
            (u64::MAX, u64::MAX, None, Some(1.0)),
        ] {
            let mut map = map! {"state": "processing", "step": step, "total": total};
            if let Some(progress) = progress {
                map.insert("progress", progress);
            }
            assert_eq!(read(map.into()).unwrap().fraction(), expected);
        }
    }
}
