//! The load that each caller generates in one stage, and the results of a caller.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{BenchError, shape::Shape};

/// The load that each caller generates in one stage.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) text: Arc<str>,
    pub(crate) stream: bool,
    end: End,
    digits: u8,
}

/// The condition that stops a caller.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    After(Duration),
    /// Stops after the given number of calls.
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

    /// Creates the tally of one caller and starts its time limit.
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

/// The results of one caller and its remaining work.
pub(crate) struct Tally {
    /// The latency of each call, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) answers: u64,
    text: Arc<str>,
    until: Option<Instant>,
    left: u64,
}

impl Tally {
    /// Returns the start time of the next call, or `None` if the caller must stop.
    pub(crate) fn start_call(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if self.left == 0 || self.until.is_some_and(|until| now >= until) {
            return None;
        }
        self.left -= 1;
        Some(now)
    }

    /// Checks a reply or a chunk of a stream.
    pub(crate) fn check(&mut self, text: &str) -> Result<(), BenchError> {
        // Check only the length and the end of the text, because comparing a large text in full
        // would distort the measurement.
        let end = self.text.len().saturating_sub(64);
        if text.len() != self.text.len() || text.as_bytes()[end..] != self.text.as_bytes()[end..] {
            return Err("the answer is not the echo".into());
        }
        self.answers += 1;
        Ok(())
    }

    /// Records the latency of a completed call.
    pub(crate) fn record(&mut self, started: Instant) -> Result<(), BenchError> {
        let nanoseconds = u64::try_from(started.elapsed().as_nanos())?;
        Ok(self.latency.record(nanoseconds)?)
    }
}

/// The number of callers at which histograms keep two significant digits instead of three. Each
/// caller has a histogram, so this saves memory.
const MANY_CALLERS: usize = 256;
