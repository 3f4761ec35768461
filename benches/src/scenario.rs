//! The scenarios of the comparison.

use serde::{Deserialize, Serialize};

use crate::shape::Shape;

/// A scenario, which defines the calls of the client and the CPUs of the processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// One call at a time, with both processes on one CPU, which excludes the time to wake a core.
    LoneOneCpu,
    /// One call at a time, with the processes on CPUs that the system chooses.
    Lone,
    OneBySixtyFour,
    SixteenByFour,
    SixtyFourByOne,
    /// One call with 1 MiB of text at a time.
    OneMiB,
    /// One stream at a time.
    Stream,
    /// Connections that have made one call and are then idle.
    Idle,
}

impl Scenario {
    /// The scenarios that measure time.
    pub(crate) const TIMED: [Self; 7] = [
        Self::LoneOneCpu,
        Self::Lone,
        Self::OneBySixtyFour,
        Self::SixteenByFour,
        Self::SixtyFourByOne,
        Self::OneMiB,
        Self::Stream,
    ];

    /// The timed scenarios that also run over TCP. The peers that also run over Unix sockets have
    /// only those that are sufficient to show the influence of the carrier.
    pub(crate) const TIMED_OVER_TCP: [Self; 5] = [
        Self::LoneOneCpu,
        Self::Lone,
        Self::OneBySixtyFour,
        Self::SixtyFourByOne,
        Self::OneMiB,
    ];

    pub(crate) const fn shape(self) -> Shape {
        match self {
            Self::LoneOneCpu | Self::Lone => Shape::calls(1, 1),
            Self::OneBySixtyFour => Shape::calls(1, 64),
            Self::SixteenByFour => Shape::calls(16, 4),
            Self::SixtyFourByOne => Shape::calls(64, 1),
            Self::OneMiB => Shape {
                size: 1024 * 1024,
                ..Shape::calls(1, 1)
            },
            Self::Stream => Shape {
                stream: true,
                ..Shape::calls(1, 1)
            },
            Self::Idle => Shape {
                separate: true,
                ..Shape::calls(1000, 1)
            },
        }
    }

    /// Returns the CPU that both processes share, or `None` if they do not share a CPU.
    pub(crate) const fn cpu(self) -> Option<usize> {
        match self {
            Self::LoneOneCpu => Some(0),
            _ => None,
        }
    }

    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::LoneOneCpu => "lone, one CPU",
            Self::Lone => "lone",
            Self::OneBySixtyFour => "1 x 64",
            Self::SixteenByFour => "16 x 4",
            Self::SixtyFourByOne => "64 x 1",
            Self::OneMiB => "1 MiB",
            Self::Stream => "stream",
            Self::Idle => "idle",
        }
    }
}
