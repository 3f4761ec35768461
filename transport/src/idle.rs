/// What [`Connection::probe`](crate::Connection::probe) found on a connection that should be idle.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Idle {
    /// The connection is open and nothing has arrived. It can be used.
    Quiet,
    /// The far side has closed it, or its sending half, or it broke.
    Closed,
    /// Bytes have arrived that nobody asked for.
    Unexpected,
}

impl Idle {
    /// True if the connection can be used.
    pub fn is_idle_and_open(self) -> bool {
        self == Self::Quiet
    }
}
