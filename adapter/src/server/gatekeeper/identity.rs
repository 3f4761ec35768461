//! What a gatekeeper knows about a connection: [`Identity`].

use std::sync::{Arc, OnceLock};

use agentwire_transport::internal::Mutex;

use crate::{Principal, auth::Denied};

/// The authentication of one connection. Nothing is allocated before the first request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identity(OnceLock<Arc<Mutex<State>>>);

#[derive(Debug, Default)]
struct State {
    /// The revision of the authenticators, and what they said about the connection.
    connection: Option<(u64, Result<Option<Principal>, Denied>)>,
    /// The principal whose authentication was recorded last.
    recorded: Option<Principal>,
}

impl Identity {
    /// Returns what the authenticators of this revision said about the connection, if they were
    /// asked.
    pub(super) fn known(&self, revision: u64) -> Option<Result<Option<Principal>, Denied>> {
        let state = self.0.get()?.lock();
        let (at, result) = state.connection.as_ref()?;
        (*at == revision).then(|| result.clone())
    }

    pub(super) fn remember(&self, revision: u64, result: Result<Option<Principal>, Denied>) {
        self.state().lock().connection = Some((revision, result));
    }

    /// Returns whether the authentication of this principal has not been recorded for this
    /// connection.
    pub(super) fn is_new(&self, principal: &Principal) -> bool {
        let mut state = self.state().lock();
        let is_new = state.recorded.as_ref() != Some(principal);
        if is_new {
            state.recorded = Some(principal.clone());
        }
        is_new
    }

    fn state(&self) -> &Mutex<State> {
        self.0.get_or_init(Arc::default)
    }
}
