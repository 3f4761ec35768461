//! The frames carrier: one envelope in each frame, over any byte stream.
//!
//! `acceptor` > `session` > `dispatch` > `in_flight`: a task accepts connections, a task for each
//! connection reads requests, starts them, and writes their replies as they become ready.

mod acceptor;
mod close_reason;
mod dispatch;
mod foreign_protocol;
mod in_flight;
mod reply;
mod session;
mod timeouts;

pub(super) use self::acceptor::Acceptor;
