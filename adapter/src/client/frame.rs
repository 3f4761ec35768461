use std::ops::Deref;

use bytes::Bytes;

use crate::connection::buffer_pool;

/// From this size on, copying a frame costs more than writing it separately.
const LARGE: usize = 16 * 1024;

/// One whole frame, as it is written.
#[derive(Debug)]
pub(super) enum Frame {
    /// It is copied behind others.
    Small(Vec<u8>),
    /// It is shared, and leaves by itself.
    Large(Bytes),
}

impl From<Vec<u8>> for Frame {
    fn from(bytes: Vec<u8>) -> Self {
        match bytes.len() {
            0..LARGE => Self::Small(bytes),
            _ => Self::Large(bytes.into()),
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
