//! The table of the calls in flight on one shared connection. The table contains the queued frames
//! and matches answers to calls. It uses no sockets, tasks or locks.

use std::collections::{HashMap, VecDeque};

use agentwire_codec::{Body, EnvelopeType, RequestId};
use bytes::Bytes;

use crate::{client::channel::frame::Frame, connection::WriteBuffer};

/// A table that matches answers to requests. The type parameter `W` is the type of a waiter, which
/// receives an answer.
///
/// A waiter is removed by [`complete`](Self::complete), [`remove`](Self::remove),
/// [`cancel`](Self::cancel) or [`fail_all`](Self::fail_all).
#[derive(Debug)]
pub(super) struct InFlightTable<W> {
    /// The bytes of all queued small frames. A single write can send the frames of many callers.
    small: Vec<u8>,
    /// The queued large frames, which are not copied.
    large: VecDeque<Bytes>,
    small_progress: Progress,
    large_progress: Progress,
    waiting: HashMap<RequestId, Entry<W>>,
    /// Cancelled calls whose frames are still queued. The waiter of a cancelled call holds its
    /// permit until the frame is taken. Without this limit, the queue could grow without bound
    /// while the peer does not read.
    cancelled: Vec<Entry<W>>,
    /// The number of answers that have arrived.
    received: u64,
    /// Whether any call has been cancelled. The answer to a cancelled call may still arrive.
    has_cancelled: bool,
}

#[derive(Debug)]
struct Entry<W> {
    waiter: W,
    position: Position,
}

/// The amount of data that has been queued, and the amount of data that has been taken for writing.
/// Small frames are counted in bytes. Large frames are counted individually.
#[derive(Debug, Default)]
struct Progress {
    queued: u64,
    taken: u64,
}

/// The position of a frame in its queue.
#[derive(Debug, Clone, Copy)]
enum Position {
    /// The end of a small frame, as an offset in the stream of all small frames.
    Small(u64),
    /// The number of a large frame. The first large frame is number 1.
    Large(u64),
}

/// The amount of data that has been written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// The number of bytes of small frames that have been written.
    pub(super) small: u64,
    /// Whether the last taken large frame has not been written completely.
    pub(super) is_large_pending: bool,
}

impl<W> Default for InFlightTable<W> {
    fn default() -> Self {
        Self {
            small: Vec::new(),
            large: VecDeque::new(),
            small_progress: Progress::default(),
            large_progress: Progress::default(),
            waiting: HashMap::new(),
            cancelled: Vec::new(),
            received: 0,
            has_cancelled: false,
        }
    }
}

impl<W> InFlightTable<W> {
    /// Queues the frame of a request and adds its waiter.
    pub(super) fn insert(&mut self, id: &RequestId, frame: &Frame, waiter: W) {
        let position = self.queue(frame);
        self.waiting.insert(id.clone(), Entry { waiter, position });
    }

    /// Takes queued frames for writing. All small frames are appended to `buffer`, and the first
    /// large frame is returned.
    pub(super) fn take_frames(&mut self, buffer: &mut WriteBuffer) -> Option<Bytes> {
        buffer.append_all(&mut self.small);
        self.small_progress.taken = self.small_progress.queued;
        let large = self.large.pop_front();
        self.large_progress.taken += u64::from(large.is_some());
        let (small, large_progress) = (&self.small_progress, &self.large_progress);
        self.cancelled
            .retain(|entry| !entry.position.is_taken(small, large_progress));
        large
    }

    /// Returns the number of calls that are waiting for an answer.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the number of answers that have arrived.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Removes and returns the waiter for an answer.
    pub(super) fn complete(&mut self, id: &RequestId, body: &Body) -> Option<W> {
        self.received += 1;
        if let Some(waiter) = self.remove(id) {
            return Some(waiter);
        }
        // An error without a request id is the answer to the only call in flight, unless the answer
        // to a cancelled call may still arrive.
        let is_stray = body.kind() == EnvelopeType::Error && *id == RequestId::unknown();
        if is_stray && self.waiting.len() == 1 && !self.has_cancelled {
            return self.waiting.drain().next().map(|(_, entry)| entry.waiter);
        }
        None
    }

    /// Removes and returns the waiter of a request whose answer cannot be decoded.
    pub(super) fn remove(&mut self, id: &RequestId) -> Option<W> {
        self.waiting.remove(id).map(|entry| entry.waiter)
    }

    /// Cancels a call. A late answer to a cancelled call is discarded.
    pub(super) fn cancel(&mut self, id: &RequestId) {
        let Some(entry) = self.waiting.remove(id) else {
            return;
        };
        self.has_cancelled = true;
        if !(entry.position).is_taken(&self.small_progress, &self.large_progress) {
            self.cancelled.push(entry);
        }
    }

    /// Removes and returns all waiters. The flag of a waiter is true if its frame was written
    /// completely. The peer cannot have seen a request that was written only in part.
    pub(super) fn fail_all(self, written: Written) -> impl Iterator<Item = (W, bool)> {
        let pending = u64::from(written.is_large_pending);
        // The driver replaces the table when it ends. No frame was taken from the new table.
        let large = self.large_progress.taken.saturating_sub(pending);
        self.waiting.into_values().map(move |entry| {
            let was_written = match entry.position {
                Position::Small(end) => end <= written.small,
                Position::Large(number) => number <= large,
            };
            (entry.waiter, was_written)
        })
    }

    fn queue(&mut self, frame: &Frame) -> Position {
        match frame {
            Frame::Small(bytes) => {
                self.small.extend_from_slice(bytes);
                self.small_progress.queued += bytes.len() as u64;
                Position::Small(self.small_progress.queued)
            }
            Frame::Large(bytes) => {
                self.large.push_back(bytes.clone());
                self.large_progress.queued += 1;
                Position::Large(self.large_progress.queued)
            }
        }
    }
}

impl Position {
    fn is_taken(self, small: &Progress, large: &Progress) -> bool {
        match self {
            Self::Small(end) => end <= small.taken,
            Self::Large(number) => number <= large.taken,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use agentwire_codec::{ErrorCode, Response, WireError, map};
    use bytes::Buf;

    use super::*;

    fn id(text: &str) -> RequestId {
        text.into()
    }

    fn small(len: usize) -> Frame {
        Frame::Small(vec![1; len])
    }

    fn large() -> Frame {
        Frame::Large(Bytes::from_static(&[2; 3]))
    }

    fn answer() -> Body {
        Body::Response(Response::Other(map! {}))
    }

    fn error() -> Body {
        Body::Error(WireError::new(ErrorCode::INTERNAL_ERROR, "broken"))
    }

    #[test]
    fn an_answer_goes_to_the_call_with_its_id() {
        let mut table = InFlightTable::default();
        table.insert(&id("a"), &small(1), 'a');
        table.insert(&id("b"), &small(1), 'b');
        assert_eq!(table.complete(&id("b"), &answer()), Some('b'));
        assert_eq!(table.complete(&id("b"), &answer()), None);
        assert_eq!((table.len(), table.received()), (1, 2));
    }

    #[test]
    fn an_error_without_an_id_is_for_the_only_call() {
        let mut table = InFlightTable::default();
        let unknown = RequestId::unknown();
        table.insert(&id("a"), &small(1), 'a');
        assert_eq!(table.complete(&unknown, &answer()), None);
        table.insert(&id("b"), &small(1), 'b');
        assert_eq!(table.complete(&unknown, &error()), None, "there are two");
        table.complete(&id("b"), &answer());
        assert_eq!(table.complete(&unknown, &error()), Some('a'));
        table.insert(&id("c"), &small(1), 'c');
        table.cancel(&id("c"));
        table.insert(&id("d"), &small(1), 'd');
        let stray = table.complete(&unknown, &error());
        assert_eq!(stray, None, "it may be for the cancelled call");
    }

    #[test]
    fn small_frames_are_taken_together_and_large_ones_one_at_a_time() {
        let mut table = InFlightTable::default();
        for (name, frame) in [
            ("a", small(2)),
            ("b", large()),
            ("c", small(3)),
            ("d", large()),
        ] {
            table.insert(&id(name), &frame, ());
        }
        let mut buffer = WriteBuffer::default();
        assert_eq!(table.take_frames(&mut buffer).unwrap(), [2; 3][..]);
        assert_eq!(buffer.remaining(), 5);
        assert!(table.take_frames(&mut buffer).is_some());
        assert!(table.take_frames(&mut buffer).is_none());
    }

    #[test]
    fn a_cancelled_call_keeps_its_permit_until_its_frame_is_taken() {
        let mut table = InFlightTable::default();
        let permits = [(); 3].map(Rc::new);
        table.insert(&id("small"), &small(1), Rc::clone(&permits[0]));
        for (name, permit) in [("first", &permits[1]), ("second", &permits[2])] {
            table.insert(&id(name), &large(), Rc::clone(permit));
        }
        let held = || {
            permits
                .each_ref()
                .map(|permit| Rc::strong_count(permit) > 1)
        };
        for name in ["small", "first", "second"] {
            table.cancel(&id(name));
        }
        assert!(table.is_empty());
        assert_eq!(held(), [true, true, true]);
        let mut buffer = WriteBuffer::default();
        table.take_frames(&mut buffer);
        assert_eq!(held(), [false, false, true]);
        table.take_frames(&mut buffer);
        assert_eq!(held(), [false, false, false]);
    }

    #[test]
    fn a_call_that_is_cancelled_after_its_frame_was_taken_frees_its_permit_at_once() {
        let mut table = InFlightTable::default();
        let permit = Rc::new(());
        table.insert(&id("a"), &small(1), Rc::clone(&permit));
        table.take_frames(&mut WriteBuffer::default());
        table.cancel(&id("a"));
        assert_eq!(Rc::strong_count(&permit), 1);
    }

    #[test]
    fn failing_all_calls_tells_which_frames_were_written() {
        for (written, is_large_pending, expected) in [
            (
                0,
                true,
                ["small 1 no", "small 2 no", "large 1 no", "large 2 no"],
            ),
            (
                4,
                true,
                ["small 1 yes", "small 2 no", "large 1 no", "large 2 no"],
            ),
            (
                5,
                false,
                ["small 1 yes", "small 2 yes", "large 1 yes", "large 2 no"],
            ),
        ] {
            let mut table = InFlightTable::default();
            table.insert(&id("a"), &small(2), "small 1");
            table.insert(&id("b"), &small(3), "small 2");
            table.insert(&id("c"), &large(), "large 1");
            table.insert(&id("d"), &large(), "large 2");
            table.take_frames(&mut WriteBuffer::default());
            let written = Written {
                small: written,
                is_large_pending,
            };
            let mut ends: Vec<_> = table
                .fail_all(written)
                .map(|(name, written)| format!("{name} {}", if written { "yes" } else { "no" }))
                .collect();
            let mut expected = expected.map(String::from);
            ends.sort();
            expected.sort();
            assert_eq!(ends, expected);
        }
    }
}
