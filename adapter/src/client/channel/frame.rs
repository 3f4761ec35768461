//! An encoded request.

use std::ops::Deref;

use bytes::Bytes;

use crate::connection::buffer_pool;

/// One whole frame: a header of [`HEADER_LEN`](agentwire_codec::HEADER_LEN) bytes and the encoded
/// envelope. A carrier that delimits messages itself sends it without the header.
#[derive(Debug)]
pub(in crate::client) enum Frame {
    /// Copied behind other frames, so that one write sends many.
    Small(Vec<u8>),
    /// Shared, and written on its own.
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

/// The size from which copying a frame costs more than a write of its own.
const LARGE: usize = 16 * 1024;
