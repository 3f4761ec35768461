//! The filter of one layer: [`Select`].

use tracing::{Metadata, Subscriber, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::layer::{Context, Filter};

/// Selects the spans and events of one layer.
///
/// A layer's filter stores its decision in a variable of the thread until the span or the event is
/// created, and `tracing::enabled!` creates none. If the decisions were cached, as those of
/// `filter_fn` are, the next span would take over the decision about something else. This filter
/// therefore decides each time.
pub(crate) struct Select<F> {
    is_selected: F,
    max_level: LevelFilter,
}

impl<F: Fn(&Metadata<'_>) -> bool> Select<F> {
    pub(crate) fn new(max_level: LevelFilter, is_selected: F) -> Self {
        Self {
            is_selected,
            max_level,
        }
    }
}

impl<S: Subscriber, F: Fn(&Metadata<'_>) -> bool> Filter<S> for Select<F> {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        (self.is_selected)(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if (self.is_selected)(metadata) {
            Interest::sometimes()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.max_level)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    };

    use tracing::span::{Attributes, Id};
    use tracing_subscriber::{Layer, layer::SubscriberExt, registry::LookupSpan};

    use super::*;

    struct Spans(Arc<AtomicU32>);

    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
        fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn a_question_about_something_else_does_not_hide_the_next_span() {
        let count = Arc::default();
        let only = Select::new(LevelFilter::DEBUG, |metadata: &Metadata<'_>| {
            metadata.is_span() && metadata.name() == "wanted"
        });
        let layer = Spans(Arc::clone(&count)).with_filter(only);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            for expected in 1..=3 {
                assert!(!tracing::enabled!(tracing::Level::INFO));
                drop(tracing::debug_span!("other"));
                drop(tracing::debug_span!("wanted"));
                assert_eq!(count.load(Relaxed), expected);
            }
        });
    }
}
