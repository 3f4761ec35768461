//! An encoded request.

use std::ops::Deref;

use bytes::Bytes;

use crate::connection::buffer_pool;

/// A complete frame: a header of [`HEADER_LEN`](agentwire_codec::HEADER_LEN) bytes, followed by the
/// encoded envelope. A carrier that delimits messages itself sends the envelope without the header.
#[derive(Debug)]
pub(in crate::client) enum Frame {
    /// A small frame. Small frames are collected in the write buffer, so that a single write can
    /// send several frames.
    Small(Vec<u8>),
    /// A large frame. Large frames are written separately to avoid copying them.
    Large(Bytes),
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() < LARGE {
            Self::Small(bytes)
        } else {
            Self::Large(bytes.into())
        }
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Large(bytes) => bytes,
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if let Self::Small(bytes) = self {
            buffer_pool::return_write_buffer(std::mem::take(bytes));
        }
    }
}

/// The minimum size of a large frame. Copying a larger frame costs more than a separate write.
const LARGE: usize = 16 * 1024;
