//! What a gatekeeper knows about a connection: [`Identity`].

use std::sync::{Arc, OnceLock};

use agentwire_transport::internal::Mutex;

use crate::{Principal, auth::Denied};

/// The authentication of one connection. All clones belong to the same connection. Nothing is
/// allocated before the first clone.
#[derive(Debug, Default)]
pub(crate) struct Identity(OnceLock<Arc<Mutex<State>>>);

impl Clone for Identity {
    fn clone(&self) -> Self {
        // A clone of an empty cell would be the identity of another connection.
        self.state();
        Self(self.0.clone())
    }
}

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

    /// Returns whether the authentication of this principal was the last one that was recorded for
    /// this connection.
    pub(super) fn is_recorded(&self, principal: &Principal) -> bool {
        self.state().lock().recorded.as_ref() == Some(principal)
    }

    /// Notes that the authentication of this principal has been recorded.
    pub(super) fn set_recorded(&self, principal: &Principal) {
        self.state().lock().recorded = Some(principal.clone());
    }

    fn state(&self) -> &Arc<Mutex<State>> {
        self.0.get_or_init(Arc::default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_of_a_new_identity_share_what_they_learn() {
        let identity = Identity::default();
        let request = identity.clone();
        let alice = Principal::new("alice");
        request.remember(7, Ok(Some(alice.clone())));
        assert!(!request.is_recorded(&alice));
        request.set_recorded(&alice);
        assert_eq!(identity.known(7), Some(Ok(Some(alice.clone()))));
        assert_eq!(identity.known(8), None);
        assert!(identity.clone().is_recorded(&alice));
    }
}
