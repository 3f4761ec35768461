//! The spare read buffer of each thread.

use std::cell::Cell;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Returns a buffer of this length. Its bytes have no meaning.
pub(super) fn take(len: usize) -> Vec<u8> {
    if len == READ_SIZE {
        // A thread that is shutting down has dropped its buffer.
        let spare = SPARE.try_with(Cell::take).unwrap_or_default();
        if spare.len() == len {
            return spare;
        }
    }
    vec![0; len]
}

/// Keeps a buffer for the next connection that reads on this thread, if the buffer has the usual
/// length.
pub(super) fn keep(buffer: Vec<u8>) {
    if buffer.len() == READ_SIZE {
        // A thread that is shutting down keeps nothing.
        let _ = SPARE.try_with(|spare| spare.set(buffer));
    }
}

/// The size of a read of a connection that is not busy.
pub(super) const READ_SIZE: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_of_the_usual_length_is_used_again_by_its_thread() {
        let mut buffer = take(READ_SIZE);
        buffer[0] = 7;
        keep(buffer);
        keep(vec![0; 2 * READ_SIZE]);
        let other = std::thread::spawn(|| take(READ_SIZE)).join();
        assert_eq!(other.expect("a buffer")[0], 0);
        assert_eq!(take(2 * READ_SIZE)[0], 0);
        assert_eq!(take(READ_SIZE)[0], 7, "the spare buffer");
        assert_eq!(take(READ_SIZE)[0], 0, "there is only one");
    }
}
