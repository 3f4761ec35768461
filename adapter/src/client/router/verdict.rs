//! The verdict on a call after an attempt.

/// Whether an attempt settles its call.
#[derive(Debug)]
pub(in crate::client) enum Verdict<T> {
    /// The call ends with this result.
    Settled(T),
    /// The call must make another attempt now.
    TryAgain,
}
