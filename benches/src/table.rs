//! The tables in docs/performance.md.

use std::fmt::Write;

use clap::ValueEnum;

use crate::{
    comparison::Comparison,
    peer::{Carrier, Peer},
    sample::{Cell, Metric, value},
    scenario::Scenario,
};

/// Returns the tables for each carrier. A number in brackets is the ratio to the value of
/// agentwire.
pub(crate) fn markdown(comparison: &Comparison) -> String {
    let mut text = String::new();
    for &carrier in Carrier::value_variants() {
        for table in &TABLES {
            push_table(&mut text, comparison, carrier, table);
        }
    }
    text
}

/// Returns the agentwire peer with which other peers are compared. This peer uses JSON. It uses
/// shared connections if the scenario has several calls in flight on a connection.
pub(crate) fn ours(scenario: Scenario) -> Peer {
    match scenario.shape().in_flight {
        1 => Peer::Agentwire,
        _ => Peer::AgentwireShared,
    }
}

/// A table of related columns that fits on one screen.
struct Table {
    title: &'static str,
    columns: &'static [Column],
}

struct Column {
    title: &'static str,
    scenario: Scenario,
    metric: Metric,
}

const fn column(title: &'static str, scenario: Scenario, metric: Metric) -> Column {
    Column {
        title,
        scenario,
        metric,
    }
}

/// Appends a table, unless none of its values was measured over this carrier.
fn push_table(text: &mut String, comparison: &Comparison, carrier: Carrier, table: &Table) {
    let value = |peer, column: &Column| {
        let (scenario, metric) = (column.scenario, column.metric);
        let cell = Cell {
            peer,
            carrier,
            scenario,
            metric,
        };
        value(&comparison.samples, cell)
    };
    let has_values = |peer: &&Peer| {
        let mut columns = table.columns.iter();
        columns.any(|column| value(**peer, column).is_some())
    };
    let peers: Vec<&Peer> = Peer::value_variants().iter().filter(has_values).collect();
    let columns: Vec<&Column> = table
        .columns
        .iter()
        .filter(|column| peers.iter().any(|peer| value(**peer, column).is_some()))
        .collect();
    if columns.is_empty() {
        return;
    }
    // Writing to a `String` cannot fail.
    let _ = write!(text, "### {}: {}\n\n", carrier.label(), table.title);
    let titles: Vec<&str> = columns.iter().map(|column| column.title).collect();
    push_row(text, "peer", &titles);
    push_row(text, "---", &vec!["---:"; columns.len()]);
    for peer in peers {
        let cells: Vec<String> = columns
            .iter()
            .map(|column| {
                let reference = value(ours(column.scenario), column);
                shown(value(*peer, column), reference)
            })
            .collect();
        push_row(text, peer.label(), &cells);
    }
    text.push('\n');
}

pub(crate) fn push_row(text: &mut String, first: &str, cells: &[impl AsRef<str>]) {
    // Writing to a `String` cannot fail.
    let _ = write!(text, "| {first} |");
    for cell in cells {
        let _ = write!(text, " {} |", cell.as_ref());
    }
    text.push('\n');
}

fn shown(value: Option<f64>, reference: Option<f64>) -> String {
    let Some(value) = value else {
        return "–".to_owned();
    };
    match reference.map(|reference| value / reference) {
        Some(ratio) if ratio.is_finite() => format!("{} ({ratio:.2})", number(value)),
        _ => number(value),
    }
}

/// Formats a number with an appropriate number of digits.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 => thousands(value),
        0.0..100.0 => format!("{value:.1}"),
        _ => thousands(value),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 {
        format!("-{text}")
    } else {
        text
    }
}

const TABLES: [Table; 5] = [
    Table {
        title: "one call at a time, both processes on one CPU",
        columns: &[
            column("p50 us", Scenario::LoneOneCpu, Metric::P50),
            column("p99 us", Scenario::LoneOneCpu, Metric::P99),
            column("p99.9 us", Scenario::LoneOneCpu, Metric::P999),
            column("CPU us/call", Scenario::LoneOneCpu, Metric::Cpu),
        ],
    },
    Table {
        title: "one call at a time, unpinned",
        columns: &[
            column("p50 us", Scenario::Lone, Metric::P50),
            column("p99 us", Scenario::Lone, Metric::P99),
            column("p99.9 us", Scenario::Lone, Metric::P999),
        ],
    },
    Table {
        title: "many calls at a time",
        columns: &[
            column(
                "1 x 64: calls/s",
                Scenario::OneBySixtyFour,
                Metric::CallsPerSecond,
            ),
            column("CPU us/call", Scenario::OneBySixtyFour, Metric::Cpu),
            column(
                "16 x 4: calls/s",
                Scenario::SixteenByFour,
                Metric::CallsPerSecond,
            ),
            column("CPU us/call", Scenario::SixteenByFour, Metric::Cpu),
            column(
                "64 x 1: calls/s",
                Scenario::SixtyFourByOne,
                Metric::CallsPerSecond,
            ),
            column("CPU us/call", Scenario::SixtyFourByOne, Metric::Cpu),
        ],
    },
    Table {
        title: "large messages and streams",
        columns: &[
            column("1 MiB echoes/s", Scenario::OneMiB, Metric::CallsPerSecond),
            column("CPU us/echo", Scenario::OneMiB, Metric::Cpu),
            column(
                "stream: chunks/s",
                Scenario::Stream,
                Metric::ChunksPerSecond,
            ),
        ],
    },
    Table {
        title: "system calls, allocations and memory",
        columns: &[
            column(
                "system calls of a lone call",
                Scenario::Lone,
                Metric::Syscalls,
            ),
            column(
                "allocations of a lone call",
                Scenario::Lone,
                Metric::Allocations,
            ),
            column(
                "server memory of an idle connection, bytes",
                Scenario::Idle,
                Metric::Memory,
            ),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_only_significant_digits() {
        assert_eq!(number(9.66), "9.7");
        assert_eq!(number(100.4), "100");
        assert_eq!(number(7.0), "7");
        assert_eq!(number(1_808_000.0), "1,808,000");
        assert_eq!(number(-2048.0), "-2,048");
    }

    #[test]
    fn a_cell_has_the_ratio_to_the_value_of_agentwire() {
        assert_eq!(shown(Some(44.5), Some(22.25)), "44.5 (2.00)");
        assert_eq!(shown(Some(44.5), None), "44.5");
        assert_eq!(shown(None, Some(22.0)), "–");
    }
}
