//! The report of `bench`, as text and as JSON.

use std::fmt::{Display, Write};

use agentwire::{Map, Value, map, transport::internal::Untrusted};
use hdrhistogram::Histogram;

use super::{
    load::{Measurements, Work},
    rate::Rate,
};

/// The settings of a run.
pub(super) struct Settings {
    pub(super) endpoint: String,
    pub(super) connections: usize,
    pub(super) in_flight: usize,
    pub(super) size: usize,
    pub(super) rate: Option<Rate>,
    pub(super) work: Work,
}

pub(super) fn text(settings: &Settings, measurements: &Measurements) -> String {
    let Settings {
        endpoint,
        connections,
        in_flight,
        size,
        rate: intended,
        work,
    } = settings;
    let seconds = measurements.elapsed.as_secs_f64();
    let calls = measurements.latency.len();
    let (what, payload) = match work {
        Work::Call(_) => ("call", format!("{} of text", counted(*size, "byte"))),
        Work::Stream(_) => ("stream", format!("{} of text", counted(*size, "byte"))),
        Work::Tool(tool, _) => ("call", format!("tool {}", Untrusted(tool))),
    };
    let intended = intended.map_or_else(String::new, |rate| format!(", {rate}"));
    let mut lines = vec![
        format!(
            "{}: {} x {in_flight} in flight, {payload}{intended}",
            Untrusted(endpoint),
            counted(*connections, "connection"),
        ),
        String::new(),
        format!(
            "  {} in {seconds:.2} s: {:.0}/s",
            counted(calls, what),
            rate(calls, seconds)
        ),
    ];
    if matches!(work, Work::Stream(_)) {
        let chunks = measurements.chunks;
        lines.push(format!(
            "  {}: {:.0}/s",
            counted(chunks, "chunk"),
            rate(chunks, seconds)
        ));
    }
    for (code, count) in &measurements.errors {
        lines.push(format!("  {count} failed with {}", Untrusted(code)));
    }
    if measurements.missed > 0 {
        let missed = counted(measurements.missed, "call");
        lines.push(format!(
            "  {missed} could not start in time: all callers waited for answers"
        ));
    }
    lines.push(String::new());
    lines.push("  latency".to_owned());
    for (name, nanoseconds) in latencies(&measurements.latency) {
        lines.push(format!("    {name:<7} {}", time(nanoseconds)));
    }
    lines.push(String::new());
    lines.extend(histogram(&measurements.latency));
    let mut text = lines.join("\n");
    text.push('\n');
    text
}

pub(super) fn json(settings: &Settings, measurements: &Measurements) -> String {
    let seconds = measurements.elapsed.as_secs_f64();
    let calls = measurements.latency.len();
    let in_microseconds = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
    let latency: Map = latencies(&measurements.latency)
        .into_iter()
        .map(|(name, nanoseconds)| (name, in_microseconds(nanoseconds)))
        .collect();
    let errors: Map = measurements
        .errors
        .iter()
        .map(|(code, count)| (code.as_str(), *count))
        .collect();
    let report = map! {
        "endpoint": (settings.endpoint.as_str()),
        "connections": (settings.connections),
        "in_flight": (settings.in_flight),
        "size": (settings.size),
        "stream": (matches!(settings.work, Work::Stream(_))),
        "tool": (match &settings.work {
            Work::Tool(tool, _) => Value::from(tool.as_str()),
            _ => Value::Null,
        }),
        "rate": (settings.rate.map_or(Value::Null, |rate| rate.per_second().into())),
        "seconds": seconds,
        "calls": calls,
        "calls_per_second": (rate(calls, seconds)),
        "chunks": (measurements.chunks),
        "errors": errors,
        "missed": (measurements.missed),
        "latency_us": latency,
    };
    format!("{}\n", Value::from(report))
}

/// Formats a count and a noun. The noun is plural unless the count is one.
fn counted<N: Display + PartialEq + From<u8>>(count: N, thing: &str) -> String {
    let plural = if count == N::from(1) { "" } else { "s" };
    format!("{count} {thing}{plural}")
}

fn rate(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(f64::MIN_POSITIVE)
}

fn latencies(latency: &Histogram<u64>) -> Vec<(&'static str, u64)> {
    let mut latencies = vec![("min", latency.min()), ("mean", latency.mean() as u64)];
    latencies.extend(QUANTILES.map(|(name, quantile)| (name, latency.value_at_quantile(quantile))));
    latencies.push(("max", latency.max()));
    latencies
}

/// Formats a duration with a suitable unit and about three significant digits.
fn time(nanoseconds: u64) -> String {
    let nanoseconds = nanoseconds as f64;
    match nanoseconds {
        ..1e3 => format!("{nanoseconds:>6.0} ns"),
        ..1e6 => format!("{:>6.1} us", nanoseconds / 1e3),
        ..1e9 => format!("{:>6.1} ms", nanoseconds / 1e6),
        _ => format!("{:>6.2} s", nanoseconds / 1e9),
    }
}

/// Renders a histogram of the latencies up to the 99.9th percentile. The bounds of the bars are
/// logarithmic.
fn histogram(latency: &Histogram<u64>) -> Vec<String> {
    if latency.is_empty() {
        return Vec::new();
    }
    let (first, last) = (
        latency.min().max(1) as f64,
        latency.value_at_quantile(0.999).max(2) as f64,
    );
    let step = (last / first).max(1.01).powf(1.0 / BARS as f64);
    let bounds: Vec<u64> = (0..=BARS)
        .map(|bar| (first * step.powi(bar as i32)) as u64)
        .collect();
    let mut counts = [0; BARS];
    for group in latency.iter_recorded() {
        // All calls in a bucket are counted in the bar that contains the upper bound of the bucket.
        // Calls above the 99.9th percentile are not shown.
        let bar = bounds[1..].partition_point(|bound| *bound < group.value_iterated_to());
        if let Some(count) = counts.get_mut(bar) {
            *count += group.count_since_last_iteration();
        }
    }
    let most = counts.iter().copied().max().unwrap_or_default().max(1);
    let bar = |(bounds, count): (&[u64], &u64)| {
        let width = (count * BAR_WIDTH).div_ceil(most);
        let mut line = format!("    {} ", time(bounds[1]));
        line.extend(std::iter::repeat_n('#', width as usize));
        // Writing to a `String` cannot fail.
        let _ = write!(line, " {count}");
        line
    };
    bounds.windows(2).zip(&counts).map(bar).collect()
}

const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// The number of bars in the histogram.
const BARS: usize = 12;

/// The width of the longest bar, in characters.
const BAR_WIDTH: u64 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noun_is_plural_unless_the_count_is_one() {
        for (count, text) in [(0, "0 calls"), (1, "1 call"), (2, "2 calls")] {
            assert_eq!(counted::<u64>(count, "call"), text);
        }
    }

    #[test]
    fn times_have_a_suitable_unit() {
        for (nanoseconds, text) in [
            (7, "     7 ns"),
            (41_250, "  41.2 us"),
            (1_500_000, "   1.5 ms"),
            (2_000_000_000, "  2.00 s"),
        ] {
            assert_eq!(time(nanoseconds), text);
        }
    }

    #[test]
    fn all_calls_up_to_the_last_percentile_are_in_a_bar() {
        let mut latency = Histogram::new(3).expect("three digits");
        for number in 0..10_000_u64 {
            latency
                .record(30_000 + number * number / 100)
                .expect("room");
        }
        let lines = histogram(&latency);
        assert_eq!(lines.len(), BARS);
        let count = |line: &String| {
            line.rsplit(' ')
                .next()
                .and_then(|count| count.parse::<u64>().ok())
        };
        let counted: u64 = lines.iter().filter_map(count).sum();
        assert!((9_950..=10_000).contains(&counted), "{counted}: {lines:#?}");
    }

    #[test]
    fn no_calls_have_no_histogram() {
        assert!(histogram(&Histogram::new(3).expect("three digits")).is_empty());
    }
}
