//! A pool of unused buffers. Each thread keeps a few.
//!
//! A connection holds a buffer only while the buffer contains bytes. Idle connections therefore
//! need no buffers, and busy connections do not allocate.
//!
//! There are two exceptions. A connection that has received a large frame keeps its read buffer
//! until the buffer is shrunk. A shared client connection keeps its write buffer, because this
//! buffer is swapped with the buffer of queued frames.

use std::{cell::RefCell, thread::LocalKey};

use bytes::BytesMut;

type Shelf<B> = RefCell<Vec<B>>;

thread_local! {
    static READ_BUFFERS: Shelf<BytesMut> = const { RefCell::new(Vec::new()) };
    static WRITE_BUFFERS: Shelf<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Returns an empty buffer to read into.
pub(crate) fn take_read_buffer() -> BytesMut {
    take(&READ_BUFFERS)
}

/// Returns an empty buffer to write into.
pub(crate) fn take_write_buffer() -> Vec<u8> {
    take(&WRITE_BUFFERS)
}

/// Returns a read buffer to the pool.
pub(crate) fn return_read_buffer(mut buffer: BytesMut) {
    buffer.clear();
    // Reclaim the space at the front, from which frames have been consumed.
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

/// The capacity of the largest buffer that the pool keeps. A busy connection needs room for 64 KiB
/// after the bytes that it has already read.
pub(crate) const MAX_CAPACITY: usize = 128 * 1024;

/// The number of buffers of each kind that a thread keeps. A task uses one buffer at a time, and
/// keeps it across polls only while its peer is slow.
const MAX_BUFFERS: usize = 2;
