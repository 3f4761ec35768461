//! Buffers that nobody uses at the moment: a few for each thread.
//!
//! A connection has a buffer only while there is something in it. So those that are idle cost none, however many there
//! are, and those that are busy do not allocate. Two kinds keep one of their own: a connection on which large frames
//! have come, for the next, until it rests; and the line of a shared connection of a client, which it trades for full ones.

use std::{cell::RefCell, thread::LocalKey};

use bytes::BytesMut;

/// A task uses one at a time, and holds on to it only if its peer is slow.
const MAX_SPARE: usize = 2;

/// One that has grown beyond this is not kept. A busy connection reads into 64 KiB, behind what it has read before.
pub(crate) const MAX_CAPACITY: usize = 128 * 1024;

type Shelf<B> = RefCell<Vec<B>>;

thread_local! {
    static TO_READ: Shelf<BytesMut> = const { RefCell::new(Vec::new()) };
    static TO_WRITE: Shelf<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer to read into.
pub(crate) fn to_read() -> BytesMut {
    take(&TO_READ)
}

/// An empty buffer to write into.
pub(crate) fn to_write() -> Vec<u8> {
    take(&TO_WRITE)
}

/// Gives a buffer back.
pub(crate) fn done_reading(mut buffer: BytesMut) {
    // What was read from its front is room again.
    buffer.clear();
    let _ = buffer.try_reclaim(buffer.capacity() + 1);
    keep(&TO_READ, buffer.capacity(), buffer);
}

/// Gives a buffer back.
pub(crate) fn done_writing(mut buffer: Vec<u8>) {
    buffer.clear();
    keep(&TO_WRITE, buffer.capacity(), buffer);
}

fn take<B: Default>(shelf: &'static LocalKey<Shelf<B>>) -> B {
    let taken = shelf.try_with(|shelf| shelf.borrow_mut().pop());
    // A thread that is ending has none.
    taken.ok().flatten().unwrap_or_default()
}

fn keep<B>(shelf: &'static LocalKey<Shelf<B>>, capacity: usize, buffer: B) {
    if capacity == 0 || capacity > MAX_CAPACITY {
        return;
    }
    // A thread that is ending keeps none.
    let _ = shelf.try_with(|shelf| {
        let mut shelf = shelf.borrow_mut();
        if shelf.len() < MAX_SPARE {
            shelf.push(buffer);
        }
    });
}
