//! The same echo over a Unix socket, by each peer.

mod agentwire;
mod raw;

use std::time::Duration;

use clap::ValueEnum;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::{Failure, shape::Shape};

/// Who is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Peer {
    /// Frames over tokio's sockets, and nothing else: the limit
    Raw,
    /// The same, with serde_json of typed envelopes on both sides
    RawSerdeJson,
    /// A connection for each call, JSON
    Agentwire,
    /// A connection for each call, MessagePack
    AgentwireMsgpack,
    /// Calls in flight share connections, JSON
    AgentwireShared,
    /// Calls in flight share connections, MessagePack
    AgentwireSharedMsgpack,
}

/// What one client process did.
pub(crate) struct Driven {
    /// The time of each call, in nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) elapsed: Duration,
}

impl Peer {
    pub(crate) fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// True if it does what a shape asks for: without sharing, a connection has one call in flight.
    pub(crate) fn can(self, shape: Shape) -> bool {
        match self {
            Self::Agentwire | Self::AgentwireMsgpack => shape.in_flight == 1,
            Self::AgentwireShared | Self::AgentwireSharedMsgpack => shape.in_flight > 1,
            Self::Raw | Self::RawSerdeJson => true,
        }
    }

    pub(crate) async fn serve(self, path: &str) -> Result<(), Failure> {
        match self {
            Self::Raw => raw::serve(path, raw::Echo).await,
            Self::RawSerdeJson => raw::serve(path, raw::SerdeJson).await,
            _ => agentwire::serve(path).await,
        }
    }

    pub(crate) async fn drive(
        self,
        path: &str,
        shape: Shape,
        duration: Duration,
    ) -> Result<Driven, Failure> {
        match self {
            Self::Raw => raw::drive(path, shape, duration, raw::Echo).await,
            Self::RawSerdeJson => raw::drive(path, shape, duration, raw::SerdeJson).await,
            Self::Agentwire | Self::AgentwireShared => {
                agentwire::drive(path, shape, duration, ::agentwire::Format::Json).await
            }
            Self::AgentwireMsgpack | Self::AgentwireSharedMsgpack => {
                agentwire::drive(path, shape, duration, ::agentwire::Format::MessagePack).await
            }
        }
    }
}

/// A histogram that keeps three digits of any time.
pub(crate) fn histogram() -> Result<Histogram<u64>, Failure> {
    Ok(Histogram::new(3)?)
}
