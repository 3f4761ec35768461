//! Decides whether a call ends after an attempt.

/// Whether an attempt settles its call.
#[derive(Debug)]
pub(in crate::client) enum Verdict<T> {
    /// The call ends with this result.
    Settled(T),
    /// Another attempt is due now.
    TryAgain,
}
