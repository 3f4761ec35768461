//! The exported spans of the layer `Trace`.

use std::sync::Arc;

use agentwire::{
    Agent, AgentError, Message, RequestContext, TraceContext, agent_fn, layer::Trace, stream_fn,
    transport::internal::Mutex,
};
use futures_util::{StreamExt, stream};
use opentelemetry::{
    KeyValue,
    trace::{SpanKind, Status, TracerProvider},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{SdkTracerProvider, SpanData, SpanExporter},
};
use tracing::{Dispatch, instrument::WithSubscriber};
use tracing_subscriber::layer::SubscriberExt;

/// The spans that have ended.
#[derive(Debug, Clone, Default)]
struct Spans(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Spans {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().extend(spans);
        Ok(())
    }
}

impl Spans {
    fn subscriber(&self) -> Dispatch {
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(self.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        Dispatch::new(tracing_subscriber::registry().with(layer))
    }

    /// Returns the only span that has ended.
    fn take(&self) -> SpanData {
        let mut spans = std::mem::take(&mut *self.0.lock());
        assert_eq!(spans.len(), 1, "{spans:#?}");
        spans.remove(0)
    }
}

#[tokio::test]
async fn the_span_of_a_layer_is_exported_between_its_request_and_its_calls() {
    let _second = Dispatch::new(tracing::subscriber::NoSubscriber::new());
    let spans = Spans::default();
    let subscriber = spans.subscriber();
    let sent = TraceContext::new([1; 16], [2; 8], true).with_tracestate("vendor=1");
    let context = || RequestContext::new().with_trace_context(sent.clone());
    // The answer is the context that the calls of the agent would carry.
    let answer = |context: &RequestContext| {
        let trace = context.trace_context().unwrap();
        Message::agent(trace.traceparent().unwrap().to_owned())
    };
    let agent = agent_fn("work", move |message: Message, context: RequestContext| {
        let fails = message.text().is_some();
        let answer = answer(&context);
        async move {
            if fails {
                return Err(AgentError::with_code("NO", "secret text"));
            }
            Ok(answer)
        }
    });
    let agent = agent.layer(Trace::new());
    let call = agent.process(Message::user(1), context());
    let carried = call.with_subscriber(subscriber.clone()).await.unwrap();
    let span = spans.take();
    assert_eq!(span.name, "work/process");
    assert_eq!(span.span_kind, SpanKind::Internal);
    assert_eq!(span.parent_span_id.to_bytes(), [2; 8]);
    assert_eq!(span.span_context.trace_id().to_bytes(), [1; 16]);
    assert_eq!(span.status, Status::Unset);
    for attribute in [
        KeyValue::new("rpc.system", "agentwire"),
        KeyValue::new("rpc.service", "work"),
        KeyValue::new("rpc.method", "process"),
    ] {
        assert!(span.attributes.contains(&attribute), "{attribute:?}");
    }
    let carried = TraceContext::from_traceparent(carried.text().unwrap());
    assert_eq!(carried.trace_id(), Some([1; 16]));
    let own = span.span_context.span_id().to_bytes();
    assert_eq!(carried.span_id(), Some(own));

    let call = agent.process(Message::user("fail"), context());
    call.with_subscriber(subscriber.clone()).await.unwrap_err();
    let span = spans.take();
    assert!(matches!(span.status, Status::Error { .. }));
    let code = KeyValue::new("error.type", "NO");
    assert!(span.attributes.contains(&code), "{span:#?}");
    assert!(!format!("{span:?}").contains("secret"), "{span:#?}");

    let streams = stream_fn("ticks", move |_: Message, context: RequestContext| {
        let chunk = answer(&context);
        stream::iter([Ok(chunk.clone()), Ok(chunk)])
    });
    let streams = streams.layer(Trace::new());
    let read = async {
        let mut answers = Box::pin(streams.stream(Message::user(1), context()));
        let both = [answers.next().await, answers.next().await];
        assert!(spans.0.lock().is_empty(), "the stream has not ended");
        assert!(answers.next().await.is_none());
        both
    };
    let chunks = read.with_subscriber(subscriber).await;
    let span = spans.take();
    assert_eq!(span.name, "ticks/stream");
    assert_eq!(span.parent_span_id.to_bytes(), [2; 8]);
    let own = span.span_context.span_id().to_bytes();
    for chunk in chunks {
        let carried = TraceContext::from_traceparent(chunk.unwrap().unwrap().text().unwrap());
        assert_eq!(carried.span_id(), Some(own));
    }
}
