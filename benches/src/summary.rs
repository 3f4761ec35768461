//! The summary table for the README.

use clap::ValueEnum;

use crate::{
    comparison::Comparison,
    peer::{Carrier, Peer},
    sample::{Cell, Metric, value},
    scenario::Scenario,
    table::{number, ours, push_row},
};

/// Returns a table with few columns for Unix sockets. The table has one row for each format of
/// agentwire.
pub(crate) fn markdown(comparison: &Comparison) -> String {
    let mut text = String::new();
    push_row(&mut text, "", &COLUMNS.map(|(title, _, _)| title));
    push_row(&mut text, "---", &["---:"; COLUMNS.len()]);
    for &peer in Peer::value_variants() {
        let values = COLUMNS.map(|(_, scenario, metric)| {
            let cell = Cell {
                peer: best_variant(peer, scenario),
                carrier: Carrier::Unix,
                scenario,
                metric,
            };
            value(&comparison.samples, cell)
        });
        let is_merged = matches!(peer, Peer::AgentwireShared | Peer::AgentwireSharedMsgpack);
        if !is_merged && values.iter().any(Option::is_some) {
            let cells = values.map(|value| value.map_or_else(|| "–".to_owned(), number));
            push_row(&mut text, peer.label(), &cells);
        }
    }
    text
}

/// Returns the variant of agentwire that is used in a scenario. If a connection has several calls
/// in flight, this is the variant with shared connections. Other peers have only one variant.
fn best_variant(peer: Peer, scenario: Scenario) -> Peer {
    match (peer, ours(scenario)) {
        (Peer::Agentwire, variant) => variant,
        (Peer::AgentwireMsgpack, Peer::AgentwireShared) => Peer::AgentwireSharedMsgpack,
        _ => peer,
    }
}

const COLUMNS: [(&str, Scenario, Metric); 4] = [
    (
        "one call at a time, one CPU: p50 us",
        Scenario::LoneOneCpu,
        Metric::P50,
    ),
    (
        "1 connection x 64 in flight: calls/s",
        Scenario::OneBySixtyFour,
        Metric::CallsPerSecond,
    ),
    (
        "64 connections x 1: calls/s",
        Scenario::SixtyFourByOne,
        Metric::CallsPerSecond,
    ),
    ("1 MiB echoes/s", Scenario::OneMiB, Metric::CallsPerSecond),
];
