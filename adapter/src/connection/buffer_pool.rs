//! Buffers that no connection uses at the moment: a few for each thread.
//!
//! A connection has a buffer only while the buffer holds something. Idle connections therefore cost
//! no buffers, however many there are, and busy ones do not allocate. Two kinds of buffer stay with
//! their connection: the read buffer of a connection on which large frames have arrived, until it
//! shrinks, and the write buffer of a shared client connection, which swaps it for full ones.

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

/// Puts a read buffer back into the pool.
pub(crate) fn return_read_buffer(mut buffer: BytesMut) {
    buffer.clear();
    // Reading from the front has moved the start of the buffer. Reclaim that space.
    let _ = buffer.try_reclaim(buffer.capacity() + 1);
    keep(&READ_BUFFERS, buffer.capacity(), buffer);
}

/// Puts a write buffer back into the pool.
pub(crate) fn return_write_buffer(mut buffer: Vec<u8>) {
    buffer.clear();
    keep(&WRITE_BUFFERS, buffer.capacity(), buffer);
}

fn take<B: Default>(shelf: &'static LocalKey<Shelf<B>>) -> B {
    // A thread that is shutting down has no shelf any more.
    let taken = shelf.try_with(|shelf| shelf.borrow_mut().pop());
    taken.ok().flatten().unwrap_or_default()
}

fn keep<B>(shelf: &'static LocalKey<Shelf<B>>, capacity: usize, buffer: B) {
    if capacity == 0 || capacity > MAX_CAPACITY {
        return;
    }
    // A thread that is shutting down has no shelf any more.
    let _ = shelf.try_with(|shelf| {
        let mut shelf = shelf.borrow_mut();
        if shelf.len() < MAX_BUFFERS {
            shelf.push(buffer);
        }
    });
}

/// The largest buffer that the pool keeps. A busy connection reads into 64 KiB behind what it has
/// read before.
pub(crate) const MAX_CAPACITY: usize = 128 * 1024;

/// How many buffers of each kind a thread keeps. A task uses one at a time, and holds on to it only
/// while its peer is slow.
const MAX_BUFFERS: usize = 2;
