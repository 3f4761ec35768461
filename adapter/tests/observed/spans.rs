//! The spans of the layer `Trace`.

use std::{
    fmt::{self, Debug, Write},
    sync::Arc,
};

use agentwire::{
    Agent, AgentError, Map, Message, RequestContext, Tool, ToolResult, TraceContext, Value,
    agent_fn, layer::Trace, stream_fn, tool_fn, transport::internal::Mutex,
};
use futures_util::{StreamExt, stream};
use tokio::task::yield_now;
use tracing::{
    Dispatch, Event, Instrument, Subscriber,
    field::{Field, Visit},
    instrument::WithSubscriber,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

/// What is logged, in order: `outer > agent name="work"` for a span, and `outer > agent: text` for
/// an event.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

/// A subscriber that keeps what is logged.
struct Log {
    lines: Lines,
    subscriber: Dispatch,
    /// With a single subscriber, tracing asks the thread that reaches a log line first whether the
    /// line is wanted. In a thread of another test, without a subscriber, the answer is no.
    _second: Dispatch,
}

struct Fields(String);

impl Log {
    fn new() -> Self {
        let lines = Lines::default();
        let registry = tracing_subscriber::registry().with(lines.clone());
        Self {
            lines,
            _second: Dispatch::new(tracing::subscriber::NoSubscriber::new()),
            subscriber: Dispatch::new(registry),
        }
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.0.lock())
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(String::new());
        attributes.record(&mut fields);
        let level = attributes.metadata().level();
        let path = path(context.span_scope(id));
        self.0.lock().push(format!("{level} {path}{}", fields.0));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Fields(String::new());
        values.record(&mut fields);
        let path = path(context.span_scope(id));
        self.0.lock().push(format!("{path} records{}", fields.0));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        let path = path(context.event_scope(event));
        self.0.lock().push(format!("{path}:{}", fields.0));
    }
}

/// Returns the names of the spans of a scope, the outermost first.
fn path<'a, S: LookupSpan<'a>>(
    scope: Option<tracing_subscriber::registry::Scope<'a, S>>,
) -> String {
    let spans = scope.into_iter().flat_map(|scope| scope.from_root());
    let names: Vec<_> = spans.map(|span| span.name()).collect();
    names.join(" > ")
}

/// Logs that something happens, in the current span.
fn note(what: impl fmt::Display) {
    tracing::info!("{what}");
}

fn context() -> RequestContext {
    RequestContext::new().with_request_id("id-1")
}

#[tokio::test]
async fn a_request_runs_in_a_span_with_name_method_and_id() {
    let log = Log::new();
    let agent = agent_fn("work", |message: Message| async move {
        note("starts");
        yield_now().await;
        note("ends");
        match message.text() {
            Some(code) => Err(AgentError::with_code(code, "secret text")),
            None => Ok(message),
        }
    });
    let agent = agent.layer(Trace::new());
    let tool = tool_fn("now", |_: Map| async {
        note("works");
        Ok(ToolResult::success("secret result"))
    });
    let tool = tool.layer(Trace::new());
    let call = |content: Value| {
        let message = Message::user(content).with_metadata("authorization", "secret token");
        agent.process(message, context())
    };
    async {
        call(7.into()).await.unwrap();
        note("between");
        call("NO".into())
            .instrument(tracing::info_span!("outer"))
            .await
            .unwrap_err();
        let arguments = Map::from([("zone", Value::from("secret argument"))]);
        tool.execute(arguments, context()).await.unwrap();
    }
    .with_subscriber(log.subscriber.clone())
    .await;
    let log = log.take();
    assert_eq!(
        without_records(&log),
        [
            r#"INFO agent name="work" method="process" request_id=id-1"#,
            "agent: message=starts",
            "agent: message=ends",
            ": message=between",
            "INFO outer",
            r#"INFO outer > agent name="work" method="process" request_id=id-1"#,
            "outer > agent: message=starts",
            "outer > agent: message=ends",
            "outer > agent: message=request failed code=NO",
            r#"INFO agent name="now" method="execute" request_id=id-1"#,
            "agent: message=works",
        ]
    );
    assert!(!log.iter().any(|line| line.contains("secret")), "{log:#?}");
}

/// Leaves out the fields that only exporters of spans read.
fn without_records(log: &[String]) -> Vec<&str> {
    let lines = log.iter().filter(|line| !line.contains(" records"));
    lines.map(String::as_str).collect()
}

#[tokio::test]
async fn a_stream_has_one_span_that_its_reader_is_not_in() {
    let log = Log::new();
    let streams = stream_fn("ticks", |message: Message| {
        stream::iter([1, 2, 3]).then(move |chunk| {
            let fails = chunk == 3 && message.content == 1;
            async move {
                note(format_args!("makes {chunk}"));
                yield_now().await;
                if fails {
                    return Err(AgentError::with_code("NO", "secret text"));
                }
                Ok(Message::agent(chunk))
            }
        })
    });
    let streams = streams.layer(Trace::new());
    let read = async |content: u64, chunks: usize| {
        let mut answers = Box::pin(streams.stream(Message::user(content), context()));
        for _ in 0..chunks {
            let answer = answers.next().await;
            note(format_args!("reads {}", answer.unwrap().is_ok()));
        }
    };
    async {
        read(1, 3).await;
        // The reader leaves early.
        read(0, 1).await;
    }
    .with_subscriber(log.subscriber.clone())
    .await;
    let span = r#"INFO agent name="ticks" method="stream" request_id=id-1"#;
    assert_eq!(
        without_records(&log.take()),
        [
            span,
            "agent: message=makes 1",
            ": message=reads true",
            "agent: message=makes 2",
            ": message=reads true",
            "agent: message=makes 3",
            "agent: message=request failed code=NO",
            ": message=reads false",
            span,
            "agent: message=makes 1",
            ": message=reads true",
        ]
    );
}

#[tokio::test]
async fn a_request_keeps_its_trace_context_if_no_span_is_exported() {
    let agent = agent_fn("work", |_: Message, context: RequestContext| async move {
        let trace = context.trace_context();
        let parent = trace.and_then(TraceContext::traceparent);
        Ok(Message::agent(parent.unwrap_or_default().to_owned()))
    });
    let agent = agent.layer(Trace::new());
    let sent = TraceContext::new([1; 16], [2; 8], true);
    let call = || {
        let context = context().with_trace_context(sent.clone());
        agent.process(Message::user(1), context)
    };
    let log = Log::new();
    for answer in [
        call().await,
        call().with_subscriber(log.subscriber.clone()).await,
    ] {
        assert_eq!(answer.unwrap().text(), sent.traceparent());
    }
    assert!(!log.take().is_empty());
}
