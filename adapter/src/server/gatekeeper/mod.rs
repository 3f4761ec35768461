//! Decides which requests a service may start: [`Gatekeeper`].
//!
//! | file | what it does |
//! |---|---|
//! | `inspect` | finds out what a request asks for, and takes its credentials out |
//! | `admit` | authenticates, authorizes, counts and records a request |
//! | `answers` | counts and records the answers, and ends streams whose permission ends |
//! | `changes` | records changes of the policy and of the certificates |
//! | `identity` | what is known about a connection |
//! | `gate` | decides about requests that do not pass through a server |

mod admit;
mod answers;
mod changes;
mod gate;
mod identity;
mod inspect;

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use agentwire_codec::{Body, EnvelopeType, ErrorCode, Request, RequestId, Value, WireError};
use async_stream::stream;
use futures_core::{future::BoxFuture, stream::BoxStream};
use futures_util::StreamExt;

pub use self::gate::Gate;
pub(crate) use self::{changes::Changes, identity::Identity};
use super::service::{Caller, Service, Work};
use crate::{
    auth::{QuotaTable, Security},
    server::PeerKey,
};

/// A service that checks each request before the service behind it sees the request (PROTOCOL 14).
pub(super) struct Gatekeeper(Arc<Inner>);

struct Inner {
    service: Arc<dyn Service>,
    security: Security,
    /// The use of principals, and that of peers without one. Strangers at many addresses fill only
    /// the second table.
    quotas: [Arc<QuotaTable<QuotaKey>>; 2],
}

impl Inner {
    fn quotas(&self, key: &QuotaKey) -> &Arc<QuotaTable<QuotaKey>> {
        let [principals, peers] = &self.quotas;
        match key {
            QuotaKey::Principal(_) => principals,
            QuotaKey::Peer(_) => peers,
        }
    }
}

/// Whose quota a request counts towards.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum QuotaKey {
    Principal(String),
    Peer(PeerKey),
}

impl Gatekeeper {
    /// Puts a gatekeeper in front of a service.
    pub(super) fn guard(service: Arc<dyn Service>, security: Security) -> Arc<dyn Service> {
        Arc::new(Self(Arc::new(Self::inner(service, security))))
    }

    fn inner(service: Arc<dyn Service>, security: Security) -> Inner {
        Inner {
            service,
            security,
            quotas: [(); 2].map(|()| Arc::new(QuotaTable::new(MAX_CALLERS))),
        }
    }
}

impl Service for Gatekeeper {
    fn behind(&self) -> Option<&dyn Service> {
        Some(&*self.0.service)
    }

    /// Accepts all requests, so that no request is answered before it is authenticated.
    fn accepts(&self, kind: EnvelopeType) -> bool {
        matches!(
            kind,
            EnvelopeType::Request
                | EnvelopeType::Register
                | EnvelopeType::Heartbeat
                | EnvelopeType::Unregister
        )
    }

    #[cfg(feature = "http")]
    fn authenticates(&self) -> bool {
        !self.0.security.authenticators.is_empty()
    }

    #[cfg(any(feature = "http", feature = "websocket"))]
    fn check_credential(&self, caller: Caller) -> BoxFuture<'static, Result<(), WireError>> {
        Box::pin(Arc::clone(&self.0).admit_connection(caller))
    }

    fn start(&self, id: &RequestId, body: Body, caller: &Caller) -> Result<Work, WireError> {
        let has_one_answer = has_one_answer(&body);
        let admission = Arc::clone(&self.0).admit(id.clone(), body, caller.clone());
        let mut admission: BoxFuture<'static, _> = Box::pin(admission);
        // The built-in authenticators and sinks decide at once.
        let mut cx = Context::from_waker(Waker::noop());
        match admission.as_mut().poll(&mut cx) {
            Poll::Ready(admitted) => admitted,
            // Carriers such as HTTP answer streams in another way than calls.
            Poll::Pending if has_one_answer => Ok(Work::One(Box::pin(one_later(admission)))),
            Poll::Pending => Ok(Work::Many(later(admission))),
        }
    }
}

/// Returns whether the service answers a request once.
fn has_one_answer(body: &Body) -> bool {
    match body {
        Body::Request(request) => {
            matches!(request, Request::Process(_) | Request::Execute(_))
        }
        Body::Raw(raw) if raw.kind == EnvelopeType::Request => {
            let method = raw.payload.get("method").and_then(Value::as_str);
            matches!(method, Some("process" | "execute"))
        }
        _ => true,
    }
}

/// Returns the only answer to a request whose admission takes time.
async fn one_later(admission: BoxFuture<'static, Result<Work, WireError>>) -> Body {
    match admission.await {
        Ok(Work::One(answer)) => answer.await,
        Ok(Work::Many(mut answers)) => answers
            .next()
            .await
            .unwrap_or_else(|| Body::Error(WireError::new(ErrorCode::INTERNAL_ERROR, "No answer"))),
        Err(error) => Body::Error(error),
    }
}

/// Returns the answers to a request whose admission takes time.
fn later(admission: BoxFuture<'static, Result<Work, WireError>>) -> BoxStream<'static, Body> {
    Box::pin(stream! {
        match admission.await {
            Ok(Work::One(answer)) => yield answer.await,
            Ok(Work::Many(mut answers)) => {
                while let Some(answer) = answers.next().await {
                    yield answer;
                }
            }
            Err(error) => yield Body::Error(error),
        }
    })
}

/// The maximum number of principals, and of other peers, whose use is counted separately.
const MAX_CALLERS: usize = 65_536;
