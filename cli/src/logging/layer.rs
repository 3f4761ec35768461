//! The subscriber, which selects events and writes each as one line.

use agentwire::{Map, Value};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use super::{line, select::Select};
use crate::{color, stderr};

/// Writes the selected events to standard error.
pub(super) struct LogLayer {
    verbosity: u8,
    is_json: bool,
    is_colored: bool,
}

/// The fields of a span, which the registry stores with the span.
struct Fields(Map);

impl LogLayer {
    pub(super) fn new(verbosity: u8, is_json: bool) -> Self {
        Self {
            verbosity,
            is_json,
            is_colored: color::colors_stderr(),
        }
    }

    /// Returns the layer with its own filter.
    pub(super) fn filtered<S>(self) -> impl Layer<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let filter = Self { ..self };
        let is_enabled = move |metadata: &Metadata<'_>| filter.is_enabled(metadata);
        let select = Select::new(self.level_of("agentwire"), is_enabled);
        self.with_filter(select)
    }

    fn is_enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The outcomes of calls are in the lines about requests.
        let is_outcome = metadata.is_event() && metadata.target() == OUTCOMES;
        !is_outcome && *metadata.level() <= self.level_of(metadata.target())
    }

    /// Returns the level down to which the events of a target are written.
    fn level_of(&self, target: &str) -> LevelFilter {
        match (self.verbosity, target.starts_with("agentwire")) {
            (1, _) | (2, false) => LevelFilter::INFO,
            (2, true) | (_, false) => LevelFilter::DEBUG,
            (_, true) => LevelFilter::TRACE,
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.is_enabled(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level_of("agentwire"))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields(Map::new());
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().replace(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
                values.record(fields);
            }
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if stderr::drops() {
            return;
        }
        let mut spans = Vec::new();
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            let fields = extensions.get::<Fields>();
            spans.push((
                span.name(),
                fields.map(|it| it.0.clone()).unwrap_or_default(),
            ));
        }
        spans.reverse();
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let line = if self.is_json {
            line::json(event.metadata(), spans, fields.0)
        } else {
            line::text(event.metadata(), spans, fields.0, self.is_colored)
        };
        stderr::write(line.into_bytes());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name(), Value::from(value));
    }
}

/// The target of the events about the outcomes of calls.
const OUTCOMES: &str = "agentwire::client::call::trace";
