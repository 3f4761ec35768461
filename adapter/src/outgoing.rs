use bytes::Buf;

use crate::spare;

/// Bytes in line to be written: appended behind, taken from the front.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    /// How much of the front has left.
    sent: usize,
    /// Its buffer is kept, because it trades it for full ones.
    trades: bool,
}

impl Outgoing {
    /// Moves all of `bytes` behind what is in line, and leaves room to use again.
    pub(crate) fn append_all(&mut self, bytes: &mut Vec<u8>) {
        self.trades = true;
        if self.bytes.is_empty() {
            std::mem::swap(&mut self.bytes, bytes);
        } else {
            self.append().append(bytes);
        }
    }

    /// Where to append. What is there must stay.
    pub(crate) fn append(&mut self) -> &mut Vec<u8> {
        // A line that is never quite empty must not keep for ever what has left. Moving as little as has
        // left costs each byte one move at most.
        if self.sent > self.bytes.len() / 2 {
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = spare::to_write();
        }
        &mut self.bytes
    }
}

impl Buf for Outgoing {
    fn remaining(&self) -> usize {
        self.bytes.len() - self.sent
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.sent < self.bytes.len() {
            return;
        }
        self.sent = 0;
        if self.trades && self.bytes.capacity() <= spare::MAX_CAPACITY {
            self.bytes.clear();
        } else {
            spare::done_writing(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_never_empties_stays_small() {
        let mut outgoing = Outgoing::default();
        outgoing.append().extend_from_slice(b"first");
        for number in 0..10_000_u32 {
            outgoing
                .append()
                .extend_from_slice(&number.to_be_bytes().repeat(10));
            outgoing.advance(40);
            assert_eq!(outgoing.remaining(), 5);
        }
        assert!(outgoing.bytes.capacity() < 1024);
    }

    #[test]
    fn a_buffer_with_nothing_in_it_is_given_back() {
        const LEN: usize = 100;
        let mut outgoing = Outgoing::default();
        outgoing.append().resize(2 * LEN, 1);
        outgoing.advance(LEN);
        assert_eq!(outgoing.chunk(), &[1; LEN]);
        outgoing.advance(LEN);
        assert_eq!((outgoing.remaining(), outgoing.bytes.capacity()), (0, 0));
    }
}
