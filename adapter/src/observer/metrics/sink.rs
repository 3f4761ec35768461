//! Where metrics are recorded: [`Sink`].

use std::sync::Arc;

use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Label, Level, Metadata, Recorder, SharedString,
    with_recorder,
};

use super::table::{Kind, METRICS};

/// Where metrics are recorded.
#[derive(Clone)]
pub(super) enum Sink {
    /// The recorder that the program has installed.
    Installed,
    Own(Arc<dyn Recorder + Send + Sync>),
}

impl Sink {
    fn with<T>(&self, register: impl FnOnce(&dyn Recorder) -> T) -> T {
        match self {
            Self::Installed => with_recorder(register),
            Self::Own(recorder) => register(&**recorder),
        }
    }

    pub(super) fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        self.with(|recorder| recorder.register_counter(&key(name, labels), &METADATA))
    }

    pub(super) fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        self.with(|recorder| recorder.register_gauge(&key(name, labels), &METADATA))
    }

    pub(super) fn histogram(
        &self,
        name: &'static str,
        labels: &[(&'static str, &str)],
    ) -> Histogram {
        self.with(|recorder| recorder.register_histogram(&key(name, labels), &METADATA))
    }

    pub(super) fn describe(&self) {
        self.with(|recorder| {
            for (name, kind, unit, text) in METRICS {
                let (name, text) = (KeyName::from(name), SharedString::from(text));
                match kind {
                    Kind::Counter => recorder.describe_counter(name, Some(unit), text),
                    Kind::Gauge => recorder.describe_gauge(name, Some(unit), text),
                    Kind::Histogram => recorder.describe_histogram(name, Some(unit), text),
                }
            }
        });
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    let labels = labels.iter();
    let labels = labels.map(|(key, value)| Label::new(*key, (*value).to_owned()));
    Key::from_parts(name, labels.collect::<Vec<_>>())
}

const METADATA: Metadata<'_> = Metadata::new("agentwire", Level::INFO, Some(module_path!()));
