//! Decides about requests that do not pass through a server: [`Gate`].

use std::{fmt, sync::Arc};

use agentwire_codec::{Body, EnvelopeType, ErrorCode, RequestId, WireError};
use agentwire_transport::Peer;

use super::{
    Gatekeeper, Inner,
    inspect::{Asked, Object},
};
use crate::{
    Credential, Principal,
    auth::{AuditKind, Security, Verb},
    server::service::{Caller, Service, Work},
};

/// Decides about requests that do not pass through a server of this crate, such as requests to a
/// page with metrics.
///
/// ```
/// use agentwire::{Credential, Principal, transport::Peer};
/// use agentwire::auth::{Gate, Security, TokenDigest, Tokens, Verb};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::WireError> {
/// let viewer = Principal::new("viewer").with_role("observer");
/// let tokens = Tokens::new().allow(TokenDigest::of("the token of the viewer"), viewer);
/// let gate = Gate::new(Security::new().authenticate(tokens));
///
/// let credential = Credential::bearer("the token of the viewer");
/// let peer = Peer::from("a browser");
/// gate.admit(peer.clone(), Some(credential), Verb::Metrics, "/metrics").await?;
/// let error = gate.admit(peer, None, Verb::Metrics, "/metrics").await.unwrap_err();
/// assert_eq!(error.code.as_str(), "UNAUTHENTICATED");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

impl Gate {
    /// Creates a gate.
    #[must_use]
    pub fn new(security: Security) -> Self {
        Self(Arc::new(Gatekeeper::inner(Arc::new(Nothing), security)))
    }

    /// Decides whether the sender of a request may use a verb. The decision is recorded, with
    /// `method` as the method. Returns the principal, or `None` without an authenticator.
    ///
    /// # Errors
    ///
    /// Returns the error that answers the request ([PROTOCOL 14.4]).
    ///
    /// [PROTOCOL 14.4]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#14-security
    pub async fn admit(
        &self,
        peer: Peer,
        credential: Option<Credential>,
        verb: Verb,
        method: &str,
    ) -> Result<Option<Principal>, WireError> {
        let gate = &self.0;
        let mut asked = Asked::new(method, verb, Object::Any);
        asked.credential = credential;
        let (mut caller, id) = (Caller::new(peer), RequestId::random());
        let refused = match gate.check(&asked, &caller).await {
            Ok(principal) => {
                caller.principal = principal;
                gate.charge(&caller)
            }
            Err((principal, refusal)) => {
                caller.principal = principal;
                Some(gate.charge(&caller).unwrap_or(refusal))
            }
        };
        if let Some(refusal) = refused {
            return Err(gate.refuse(&asked, &id, &caller, refusal).await);
        }
        let event = gate.event(AuditKind::Authorization, true, &asked, &id, &caller);
        gate.record(event).await?;
        Ok(caller.principal)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("security", &self.0.security)
            .finish_non_exhaustive()
    }
}

/// The service of a gate, which starts no requests.
struct Nothing;

impl Service for Nothing {
    fn accepts(&self, _: EnvelopeType) -> bool {
        false
    }

    fn start(&self, _: &RequestId, _: Body, _: &Caller) -> Result<Work, WireError> {
        let text = "A gate starts no requests";
        Err(WireError::new(ErrorCode::INTERNAL_ERROR, text))
    }
}
