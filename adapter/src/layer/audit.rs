//! A layer that records who uses an agent: [`Audit`].

use std::{fmt, sync::Arc};

use agentwire_codec::{ErrorCode, Map, Message, ToolResult, map};
use futures_core::Stream;

use super::{
    Layer,
    stream::admitted,
    target::{Kind, Target},
};
use crate::{
    Agent, AgentError, RequestContext, Tool,
    auth::{Audit as Sink, AuditEvent, AuditKind, DynAudit},
};

/// A layer that records each request before the agent or the tool sees it.
///
/// The event has the kind [`AuditKind::Call`], with the principal, the peer, the method, the name
/// of the agent or tool and the id of the request. A request that cannot be recorded is refused
/// with `AGENT_UNAVAILABLE`.
///
/// [`Security::audit_calls`](crate::auth::Security::audit_calls) records all requests to a server.
/// This layer is for single agents and tools, and for calls within a process.
///
/// ```
/// use agentwire::{
///     Agent, Message, RequestContext, agent_fn,
///     auth::{Audit, AuditEvent, NotRecorded},
///     layer,
/// };
///
/// struct Print;
///
/// impl Audit for Print {
///     async fn record(&self, event: AuditEvent) -> Result<(), NotRecorded> {
///         println!("{:?} called {:?}", event.principal, event.agent);
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), agentwire::AgentError> {
/// let payments = agent_fn("payments", |message: Message| async move { Ok(message) })
///     .layer(layer::Audit::new(Print));
/// payments.process(Message::user("pay"), RequestContext::new()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct Audit {
    sink: Arc<dyn DynAudit>,
}

impl Audit {
    /// Creates a layer that records requests in a sink, such as
    /// [`JsonLines`](crate::auth::JsonLines).
    pub fn new(sink: impl Sink) -> Self {
        Self {
            sink: Arc::new(sink),
        }
    }

    async fn record(&self, event: AuditEvent, target: Target<'_>) -> Result<(), AgentError> {
        self.sink.record(event).await.map_err(|_| {
            tracing::error!(%target, "request refused: it cannot be recorded");
            let text = format!("Requests to {target} cannot be recorded");
            let error = AgentError::with_code(ErrorCode::AGENT_UNAVAILABLE, text);
            error.with_details(map! {"reason": "audit"})
        })
    }
}

fn event(method: &str, context: &RequestContext, target: Target<'_>) -> AuditEvent {
    let mut event = AuditEvent::new(AuditKind::Call, true);
    if let Some(principal) = context.principal() {
        event.principal = Some(principal.name().to_owned());
        event.namespace = principal.namespace().map(str::to_owned);
    }
    event.peer = Some(context.peer().to_string());
    match target.kind {
        Kind::Agent => event.agent = Some(target.name.to_owned()),
        Kind::Tool => event.tool = Some(target.name.to_owned()),
    }
    event.method = Some(method.to_owned());
    event.request_id = Some(context.request_id().to_string());
    event
}

impl Layer for Audit {
    async fn process<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> Result<Message, AgentError> {
        let target = Target::agent(next);
        let event = event("process", &context, target);
        let recorded = self.record(event, target).await;
        recorded.inspect_err(|_| refused(&context, target))?;
        next.process(message, context).await
    }

    fn stream<A: Agent>(
        &self,
        message: Message,
        context: RequestContext,
        next: &Arc<A>,
    ) -> impl Stream<Item = Result<Message, AgentError>> + Send {
        let target = Target::agent(next);
        let recorded = self.record(event("stream", &context, target), target);
        admitted((LAYER, REFUSED), recorded, message, context, next)
    }

    async fn execute<T: Tool>(
        &self,
        kwargs: Map,
        context: RequestContext,
        next: &Arc<T>,
    ) -> Result<ToolResult, AgentError> {
        let target = Target::tool(next);
        let event = event("execute", &context, target);
        let recorded = self.record(event, target).await;
        recorded.inspect_err(|_| refused(&context, target))?;
        next.execute(kwargs, context).await
    }
}

/// Reports that a request was refused.
fn refused(context: &RequestContext, target: Target<'_>) {
    context.observers().layer_acted(LAYER, REFUSED, target.name);
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").finish_non_exhaustive()
    }
}

const LAYER: &str = "audit";
const REFUSED: &str = "refused";

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use futures_util::{StreamExt, stream};

    use super::*;
    use crate::{Principal, agent_fn, auth::NotRecorded, stream_fn, tool_fn};

    /// Keeps events until it is full.
    struct Kept {
        events: Mutex<Vec<AuditEvent>>,
        most: usize,
    }

    impl Sink for Kept {
        async fn record(&self, event: AuditEvent) -> Result<(), NotRecorded> {
            let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
            if events.len() == self.most {
                return Err(NotRecorded);
            }
            events.push(event);
            Ok(())
        }
    }

    #[tokio::test]
    async fn requests_are_recorded_before_they_run_and_refused_if_they_cannot_be() {
        let kept = Arc::new(Kept {
            events: Mutex::default(),
            most: 3,
        });
        let audit = Audit::new(Arc::clone(&kept));
        let agent = agent_fn("a", |message: Message| async { Ok(message) }).layer(audit.clone());
        let streams = stream_fn("s", |message: Message| stream::iter([Ok(message)]));
        let streams = streams.layer(audit.clone());
        let tool = tool_fn("t", |_: Map| async { Ok(ToolResult::success(1)) }).layer(audit);
        let context = RequestContext::new().with_principal(Principal::new("alice"));
        agent
            .process(Message::user(1), context.clone())
            .await
            .unwrap();
        let answers = streams.stream(Message::user(1), context.clone());
        assert_eq!(answers.count().await, 1);
        tool.execute(Map::new(), context.clone()).await.unwrap();
        let events = kept.events.lock().unwrap().clone();
        let seen = events.iter().map(|event| {
            let name = event.agent.as_deref().or(event.tool.as_deref());
            (event.method.as_deref(), name, event.principal.as_deref())
        });
        let alice = Some("alice");
        assert_eq!(
            seen.collect::<Vec<_>>(),
            [
                (Some("process"), Some("a"), alice),
                (Some("stream"), Some("s"), alice),
                (Some("execute"), Some("t"), alice),
            ]
        );
        let error = agent.process(Message::user(1), context.clone()).await;
        let error = error.unwrap_err();
        assert_eq!(*error.code(), ErrorCode::AGENT_UNAVAILABLE);
        assert_eq!(error.details()["reason"], "audit");
        let answers = streams.stream(Message::user(1), context.clone());
        let answers: Vec<_> = answers.collect().await;
        assert!(matches!(&answers[..], [Err(_)]));
        tool.execute(Map::new(), context).await.unwrap_err();
    }
}
