//! Records what the library logs.

use std::{
    fmt::Debug,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

/// Runs a test on a runtime of its own, and returns what it logs: level and text of each event and
/// span, in order.
pub(crate) fn logged(test: impl Future<Output = ()>) -> Vec<(Level, String)> {
    let said = Arc::<Mutex<Vec<(Level, String)>>>::default();
    let recorder = Recorder {
        said: Arc::clone(&said),
        spans: AtomicU64::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // With a single subscriber, tracing asks the thread that reaches a log line first whether
    // the line is wanted. In a thread of another test, without a subscriber, the answer is no.
    let _second = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
    tracing::subscriber::with_default(recorder, || {
        runtime.block_on(test);
        drop(runtime);
    });
    std::mem::take(&mut said.lock().unwrap())
}

/// Records the level and the text of every event.
#[derive(Default)]
struct Recorder {
    said: Arc<Mutex<Vec<(Level, String)>>>,
    spans: AtomicU64,
}

struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}

impl Recorder {
    fn say(&self, level: Level, name: &str, record: impl FnOnce(&mut Text<'_>)) {
        let mut text = name.to_owned();
        record(&mut Text(&mut text));
        self.said.lock().unwrap().push((level, text));
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("agentwire")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let metadata = span.metadata();
        self.say(*metadata.level(), metadata.name(), |text| span.record(text));
        Id::from_u64(1 + self.spans.fetch_add(1, Relaxed))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.say(*event.metadata().level(), "event", |text| {
            event.record(text)
        });
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
