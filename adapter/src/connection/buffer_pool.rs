//! A pool of unused buffers for each thread.
//!
//! A connection has a buffer only while it needs to store bytes. Idle connections therefore use no
//! memory for buffers, and busy connections do not allocate.
//!
//! There are two exceptions. A connection that has received a large frame keeps its read buffer
//! until the buffer is freed. A shared client connection keeps its write buffer, because the buffer
//! is swapped with the buffer of queued frames.

use std::{cell::RefCell, thread::LocalKey};

use bytes::BytesMut;

type Shelf<B> = RefCell<Vec<B>>;

thread_local! {
    static READ_BUFFERS: Shelf<BytesMut> = const { RefCell::new(Vec::new()) };
    static WRITE_BUFFERS: Shelf<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Takes an empty read buffer from the pool.
pub(crate) fn take_read_buffer() -> BytesMut {
    take(&READ_BUFFERS)
}

/// Takes an empty write buffer from the pool.
pub(crate) fn take_write_buffer() -> Vec<u8> {
    take(&WRITE_BUFFERS)
}

/// Returns a read buffer to the pool.
pub(crate) fn return_read_buffer(mut buffer: BytesMut) {
    buffer.clear();
    // Reclaim the space of consumed frames at the start of the buffer.
    let _ = buffer.try_reclaim(buffer.capacity() + 1);
    keep(&READ_BUFFERS, buffer.capacity(), buffer);
}

/// Returns a write buffer to the pool.
pub(crate) fn return_write_buffer(mut buffer: Vec<u8>) {
    buffer.clear();
    keep(&WRITE_BUFFERS, buffer.capacity(), buffer);
}

fn take<B: Default>(shelf: &'static LocalKey<Shelf<B>>) -> B {
    // If the thread is shutting down, its buffers have already been dropped.
    let taken = shelf.try_with(|shelf| shelf.borrow_mut().pop());
    taken.ok().flatten().unwrap_or_default()
}

fn keep<B>(shelf: &'static LocalKey<Shelf<B>>, capacity: usize, buffer: B) {
    if capacity == 0 || capacity > MAX_CAPACITY {
        return;
    }
    // If the thread is shutting down, its buffers have already been dropped.
    let _ = shelf.try_with(|shelf| {
        let mut shelf = shelf.borrow_mut();
        if shelf.len() < MAX_BUFFERS {
            shelf.push(buffer);
        }
    });
}

/// The maximum capacity of a buffer in the pool. A busy connection needs space for 64 KiB in
/// addition to the bytes that it has already read.
pub(crate) const MAX_CAPACITY: usize = 128 * 1024;

/// The maximum number of buffers of each kind in the pool of a thread. A task uses only one buffer
/// at a time, and keeps the buffer between polls only if its peer is slow.
const MAX_BUFFERS: usize = 2;
