use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

use crate::{Failure, shape::Shape};

/// What each caller of a client has to do.
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
    /// This many calls of each caller.
    Calls(u64),
}

/// A histogram for each of so many callers would be large, so theirs keep two digits.
const MANY_CALLERS: usize = 256;

impl Load {
    pub(crate) fn new(shape: Shape, end: End) -> Self {
        Self {
            text: "x".repeat(shape.size).into(),
            stream: shape.stream,
            end,
            digits: if shape.callers() < MANY_CALLERS { 3 } else { 2 },
        }
    }

    /// One caller begins now.
    pub(crate) fn begin(&self) -> Result<Tally, Failure> {
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

/// What one caller has done, and what is left of it.
pub(crate) struct Tally {
    /// The time of each call, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) answers: u64,
    text: Arc<str>,
    until: Option<Instant>,
    left: u64,
}

impl Tally {
    /// The beginning of the next call, or `None` when there is to be none.
    pub(crate) fn call(&mut self) -> Option<Instant> {
        let now = Instant::now();
        if self.left == 0 || self.until.is_some_and(|until| now >= until) {
            return None;
        }
        self.left -= 1;
        Some(now)
    }

    /// Checks an answer, or a chunk of one.
    pub(crate) fn answer(&mut self, text: &str) -> Result<(), Failure> {
        // The length and the end: a comparison of all of a large text would be part of what is measured.
        let end = self.text.len().saturating_sub(64);
        if text.len() != self.text.len() || text.as_bytes()[end..] != self.text.as_bytes()[end..] {
            return Err("another answer than the echo".into());
        }
        self.answers += 1;
        Ok(())
    }

    /// The call is over that began then.
    pub(crate) fn done(&mut self, begun: Instant) -> Result<(), Failure> {
        let nanoseconds = u64::try_from(begun.elapsed().as_nanos())?;
        Ok(self.latency.record(nanoseconds)?)
    }
}
