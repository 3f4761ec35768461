//! Counts and records the answers to a request, and ends streams whose permission ends.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use agentwire_codec::{Body, EnvelopeType, ErrorCode, RequestId, Value, WireError};
use async_stream::stream;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::{
    Inner, QuotaKey,
    inspect::{Asked, Change},
};
use crate::{
    auth::{AuditKind, Quota, StreamPlace},
    connection::approximate_memory,
    deadline_timer::DeadlineTimer,
    server::service::{Caller, Work},
};

/// A request that has been admitted.
pub(super) struct Answers {
    pub(super) gate: Arc<Inner>,
    pub(super) asked: Asked,
    pub(super) id: RequestId,
    pub(super) caller: Caller,
    pub(super) quota: Quota,
    pub(super) key: QuotaKey,
    /// The place of a stream, which is free again when the answers are dropped.
    pub(super) _place: Option<StreamPlace<QuotaKey>>,
}

impl Answers {
    /// Follows the work of a request, if there is anything to count or to record.
    pub(super) async fn follow(self, started: Result<Work, WireError>) -> Result<Work, WireError> {
        match started {
            Ok(Work::One(answer)) if self.wants_answer() || self.may_reveal_names() => {
                Ok(Work::One(Box::pin(async move {
                    let answer = self.visible(answer.await);
                    self.count(&answer);
                    self.finish(&answer).await;
                    answer
                })))
            }
            Ok(Work::Many(mut answers)) if self.wants_answer() || self.wants_stream() => {
                let mut revision = self.gate.revision();
                let mut checked = Instant::now();
                let mut timer = DeadlineTimer::default();
                Ok(Work::Many(Box::pin(stream! {
                    loop {
                        let answer = poll_fn(|cx| match answers.poll_next_unpin(cx) {
                            Poll::Ready(answer) => Poll::Ready(Some(answer)),
                            Poll::Pending => timer.poll(cx, checked + MAX_UNCHECKED).map(|()| None),
                        });
                        let answer = answer.await;
                        let current = self.gate.revision();
                        // A credential may expire while its stream goes on, also if it is silent.
                        if revision != current || checked.elapsed() >= MAX_UNCHECKED {
                            (revision, checked) = (current, Instant::now());
                            if let Err((principal, refusal)) =
                                self.gate.check(&self.asked, &self.caller).await
                            {
                                let mut caller = self.caller.clone();
                                caller.principal = principal.or(caller.principal);
                                let error =
                                    self.gate.refuse(&self.asked, &self.id, &caller, refusal).await;
                                yield Body::Error(error);
                                return;
                            }
                        }
                        let answer = match answer {
                            Some(Some(answer)) => self.visible(answer),
                            Some(None) => return,
                            None => continue,
                        };
                        self.count(&answer);
                        if answer.kind() == EnvelopeType::StreamChunk {
                            yield answer;
                        } else {
                            self.finish(&answer).await;
                            yield answer;
                            return;
                        }
                    }
                })))
            }
            Ok(work) => Ok(work),
            Err(error) => {
                self.finish(&Body::Error(error.clone())).await;
                Err(error)
            }
        }
    }

    fn wants_answer(&self) -> bool {
        let audits = self.gate.security.audit.is_some();
        audits && (self.asked.change.is_some() || self.gate.security.audit_calls)
            || self.quota.bytes_per_minute.is_some()
    }

    fn wants_stream(&self) -> bool {
        self._place.is_some() || !self.gate.security.authenticators.is_empty()
    }

    /// Returns whether the answer may be an error in which the target of a proxy names all of its
    /// agents.
    fn may_reveal_names(&self) -> bool {
        self.asked.is_raw && self.caller.principal.is_some()
    }

    /// Removes the names that the caller may not know from the error of the target of a proxy.
    fn visible(&self, answer: Body) -> Body {
        if !self.may_reveal_names() || answer.kind() != EnvelopeType::Error {
            return answer;
        }
        match unknown_name(&answer) {
            Some(error) => Body::Error(self.gate.with_visible_names(
                error,
                &self.asked,
                &self.caller,
            )),
            None => answer,
        }
    }

    fn count(&self, answer: &Body) {
        if self.quota.bytes_per_minute.is_some() {
            let bytes = approximate_memory(answer, usize::MAX);
            let quotas = self.gate.quotas(&self.key);
            quotas.answer(&self.key, &self.quota, bytes);
        }
    }

    /// Records the last answer. The caller gets it also if that is not possible: the request has
    /// been recorded and processed, and an error would say that it may be sent again.
    async fn finish(&self, answer: &Body) {
        let gate = &self.gate;
        let failure = failure(answer);
        let kind = match self.asked.change {
            // A successful renewal changes nothing, and there are many of them.
            Some(Change::Renew) if failure.is_none() => return,
            Some(_) => AuditKind::Registration,
            None if gate.security.audit_calls => AuditKind::Call,
            None => return,
        };
        let is_allowed = failure.is_none() || self.asked.change.is_none();
        let mut event = gate.event(kind, is_allowed, &self.asked, &self.id, &self.caller);
        event.reason = failure;
        // `record` has logged the failure.
        let _ = gate.record(event).await;
    }
}

/// How long a stream goes on before its permission is checked again.
const MAX_UNCHECKED: Duration = Duration::from_secs(60);

/// Returns the error of a server for an unknown name, if it lists the known ones.
fn unknown_name(answer: &Body) -> Option<WireError> {
    let error = match answer {
        Body::Error(error) => error.clone(),
        Body::Raw(raw) => {
            let text = |key: &str| raw.payload.get(key).and_then(Value::as_str);
            let details = raw.payload.get("error_details").and_then(Value::as_map);
            let message = text("error_message").unwrap_or_default();
            WireError::new(ErrorCode::from(text("error_code")?), message)
                .with_details(details?.clone())
        }
        _ => return None,
    };
    let is_unknown = [ErrorCode::AGENT_NOT_FOUND, ErrorCode::TOOL_NOT_FOUND].contains(&error.code);
    (is_unknown && error.details.contains_key("available")).then_some(error)
}

/// Returns the code of an error and its reason, or `None` if the answer is not an error.
fn failure(answer: &Body) -> Option<String> {
    let (code, details) = match answer {
        Body::Error(error) => (error.code.as_str(), Some(&error.details)),
        Body::Raw(raw) if raw.kind == EnvelopeType::Error => {
            let code = raw.payload.get("error_code").and_then(Value::as_str);
            let details = raw.payload.get("error_details").and_then(Value::as_map);
            (code.unwrap_or_default(), details)
        }
        _ => return None,
    };
    let reason = details.and_then(|details| details.get("reason")?.as_str());
    Some(match reason {
        Some(reason) => format!("{code} {reason}"),
        None => code.to_owned(),
    })
}
