//! The queue of bytes that will be written to a connection.

use bytes::Buf;

use super::buffer_pool;

/// A queue of bytes. Bytes are appended at the end and written from the start.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    bytes: Vec<u8>,
    /// The number of bytes at the start of the queue that have been written.
    written: usize,
    /// Whether the allocation is kept when all bytes have been written.
    /// [`append_all`](Self::append_all) swaps this allocation with the allocation of the caller.
    keeps_allocation: bool,
}

impl WriteBuffer {
    /// Moves all of `bytes` to the end of the queue. If the queue is empty, the two allocations are
    /// swapped and no bytes are copied.
    pub(crate) fn append_all(&mut self, bytes: &mut Vec<u8>) {
        self.keeps_allocation = true;
        if self.bytes.is_empty() {
            std::mem::swap(&mut self.bytes, bytes);
        } else {
            self.buffer_mut().append(bytes);
        }
    }

    /// Returns the size of the allocation.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Returns the buffer. The caller may only append bytes.
    pub(crate) fn buffer_mut(&mut self) -> &mut Vec<u8> {
        // Written bytes must be removed even if the queue never becomes empty. The written bytes
        // are removed only when they fill more than half of the buffer, so that fewer bytes are
        // moved than were written.
        if self.written > self.bytes.len() / 2 {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = buffer_pool::take_write_buffer();
        }
        &mut self.bytes
    }
}

impl Buf for WriteBuffer {
    fn remaining(&self) -> usize {
        self.bytes.len() - self.written
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    fn advance(&mut self, count: usize) {
        self.written += count;
        if self.written < self.bytes.len() {
            return;
        }
        self.written = 0;
        if self.keeps_allocation && self.bytes.capacity() <= buffer_pool::MAX_CAPACITY {
            self.bytes.clear();
        } else {
            buffer_pool::return_write_buffer(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_never_empties_stays_small() {
        let mut buffer = WriteBuffer::default();
        buffer.buffer_mut().extend_from_slice(b"first");
        for number in 0..10_000_u32 {
            buffer
                .buffer_mut()
                .extend_from_slice(&number.to_be_bytes().repeat(10));
            buffer.advance(40);
            assert_eq!(buffer.remaining(), 5);
        }
        assert!(buffer.bytes.capacity() < 1024);
    }

    #[test]
    fn an_empty_buffer_goes_back_to_the_pool() {
        const LEN: usize = 100;
        let mut buffer = WriteBuffer::default();
        buffer.buffer_mut().resize(2 * LEN, 1);
        buffer.advance(LEN);
        assert_eq!(buffer.chunk(), &[1; LEN]);
        buffer.advance(LEN);
        assert_eq!((buffer.remaining(), buffer.bytes.capacity()), (0, 0));
    }
}
