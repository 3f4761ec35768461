//! Streams of layers that admit a request before the agent sees it.

use std::{future::Future, pin::pin, sync::Arc};

use agentwire_codec::Message;
use async_stream::stream;
use futures_core::Stream;
use futures_util::StreamExt;

use crate::{Agent, AgentError, RequestContext};

/// Waits for `admission` and then streams the answers of `next`. The permit that `admission`
/// returns is dropped as soon as the stream ends, fails or is dropped. A refused admission is
/// reported as the action of a layer.
pub(super) fn admitted<P: Send, A: Agent>(
    (layer, refused): (&'static str, &'static str),
    admission: impl Future<Output = Result<P, AgentError>> + Send,
    message: Message,
    context: RequestContext,
    next: &Arc<A>,
) -> impl Stream<Item = Result<Message, AgentError>> + Send {
    stream! {
        // Locals are dropped in reverse order, so the permit outlives the stream of the agent.
        let permit = match admission.await {
            Ok(permit) => permit,
            Err(error) => {
                context.observers().layer_acted(layer, refused, next.name());
                yield Err(error);
                return;
            }
        };
        let end = {
            let mut answers = pin!(next.stream(message, context));
            loop {
                match answers.next().await {
                    Some(Ok(answer)) => yield Ok(answer),
                    Some(Err(error)) => break Some(error),
                    None => break None,
                }
            }
        };
        // The caller may keep a stream that has failed.
        drop(permit);
        if let Some(error) = end {
            yield Err(error);
        }
    }
}
