//! What a caller does in one stage, and what it records.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{BenchError, shape::Shape};

/// The task of each caller in one stage.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) text: Arc<str>,
    pub(crate) stream: bool,
    end: End,
    digits: u8,
}

/// When a caller stops.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    After(Duration),
    /// After this many calls.
    Calls(u64),
}

impl Load {
    pub(crate) fn new(shape: Shape, end: End) -> Self {
        Self {
            text: "x".repeat(shape.size).into(),
            stream: shape.stream,
            end,
            digits: if shape.callers() < MANY_CALLERS { 3 } else { 2 },
        }
    }

    /// Starts the clock of one caller.
    pub(crate) fn start(&self) -> Result<Tally, BenchError> {
        let (until, left) = match self.end {
            End::After(duration) => (Some(Instant::now() + duration), u64::MAX),
            End::Calls(calls) => (None, calls),
        };
        Ok(Tally {
            latency: Histogram::new(self.digits)?,
            answers: 0,
            text: Arc::clone(&self.text),
            until,
            left,
        })
    }
}

/// What one caller has done, and what it has left to do.
pub(crate) struct Tally {
    /// The time of each call, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) answers: u64,
    text: Arc<str>,
    until: Option<Instant>,
    left: u64,
}

impl Tally {
    /// Returns the start time of the next call, or `None` if the caller is done.
    pub(crate) fn start_call(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if self.left == 0 || self.until.is_some_and(|until| now >= until) {
            return None;
        }
        self.left -= 1;
        Some(now)
    }

    /// Checks an answer, or a chunk of one.
    pub(crate) fn check(&mut self, text: &str) -> Result<(), BenchError> {
        // Only the length and the end: comparing all of a large text would distort the measurement.
        let end = self.text.len().saturating_sub(64);
        if text.len() != self.text.len() || text.as_bytes()[end..] != self.text.as_bytes()[end..] {
            return Err("the answer is not the echo".into());
        }
        self.answers += 1;
        Ok(())
    }

    /// Records the time of a call that has ended.
    pub(crate) fn record(&mut self, started: Instant) -> Result<(), BenchError> {
        let nanoseconds = u64::try_from(started.elapsed().as_nanos())?;
        Ok(self.latency.record(nanoseconds)?)
    }
}

/// From this many callers on, histograms keep two digits instead of three to save memory, because
/// each caller has a histogram.
const MANY_CALLERS: usize = 256;
