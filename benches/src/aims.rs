//! The performance targets in docs/performance.md, and whether they are met.

use crate::{
    comparison::Comparison,
    doors::over_tcp,
    peer::{Carrier, Peer},
    sample::{Cell, Metric, value},
    scale::Growth,
    scenario::Scenario,
    table::{number, ours, push_row},
};

/// A performance target, which is a bound for a measured value.
struct Aim {
    what: &'static str,
    bound: Bound,
    /// The measured value, or `None` if it was not measured.
    measured: Option<f64>,
    unit: &'static str,
}

#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// Returns a table with one row for each target: the bound, the measured value, and whether the
/// target is met.
pub(crate) fn markdown(comparison: &Comparison, growth: &Growth) -> String {
    table(aims(comparison, growth))
}

/// Returns the same table for the carriers above TCP.
pub(crate) fn markdown_of_doors(comparison: &Comparison) -> String {
    let aims = CARRIERS.map(|(what, ours, library)| {
        let tcp = |peer| over_tcp(comparison, peer, Scenario::Lone, Metric::P50);
        let measured = || Some(tcp(ours)? / tcp(library)?);
        Aim {
            what,
            bound: Bound::AtMost(1.15),
            measured: measured(),
            unit: "",
        }
    });
    table(aims)
}

fn table(aims: impl IntoIterator<Item = Aim>) -> String {
    let mut text = String::new();
    push_row(&mut text, "measure", &["aim", "measured", ""]);
    push_row(&mut text, "---", &["---:", "---:", "---"]);
    for aim in aims {
        let unit = aim.unit;
        let bound = match aim.bound {
            Bound::AtMost(bound) => format!("at most {bound}{unit}"),
            Bound::AtLeast(bound) => format!("at least {bound}{unit}"),
        };
        let measured = aim
            .measured
            .map_or_else(|| "not measured".to_owned(), |value| shown(value) + unit);
        let verdict = match aim.is_met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        let cells = [bound.as_str(), measured.as_str(), verdict];
        push_row(&mut text, aim.what, &cells);
    }
    text
}

impl Aim {
    fn is_met(&self) -> Option<bool> {
        let measured = self.measured?;
        Some(match self.bound {
            Bound::AtMost(bound) => measured <= bound,
            Bound::AtLeast(bound) => measured >= bound,
        })
    }
}

/// Formats a ratio with three decimal places, and any other value like in the tables.
fn shown(value: f64) -> String {
    match value.abs() {
        0.0..10.0 if value.fract() != 0.0 => format!("{value:.3}"),
        _ => number(value),
    }
}

fn aims(comparison: &Comparison, growth: &Growth) -> Vec<Aim> {
    use Bound::{AtLeast, AtMost};
    use Metric::{Allocations, CallsPerSecond, Cpu, P50, P99, Syscalls};
    use Scenario::{Lone, LoneOneCpu, OneBySixtyFour, OneMiB, SixteenByFour, SixtyFourByOne};

    let of = |peer, carrier, scenario, metric| {
        let cell = Cell {
            peer,
            carrier,
            scenario,
            metric,
        };
        value(&comparison.samples, cell)
    };
    let unix = |peer, scenario, metric| of(peer, Carrier::Unix, scenario, metric);
    let ratio = |one, other, scenario, metric| {
        Some(unix(one, scenario, metric)? / unix(other, scenario, metric)?)
    };
    let against = |peer, scenario, metric| ratio(ours(scenario), peer, scenario, metric);
    let most = growth
        .steps
        .iter()
        .find(|step| step.peer == Peer::Agentwire && step.connections == 10_000);
    let allocations = unix(Peer::Agentwire, Lone, Allocations);
    let allocations = allocations.map(|blocks| blocks - CALLERS_OWN_ALLOCATIONS);
    let aim = |what, bound, measured, unit| Aim {
        what,
        bound,
        measured,
        unit,
    };
    let lone = |peer| against(peer, LoneOneCpu, P50);
    vec![
        aim(
            "lone call, one CPU, p50, to raw tokio with serde_json",
            AtMost(1.1),
            lone(Peer::RawSerdeJson),
            "",
        ),
        aim(
            "lone call, one CPU, p99, Unix",
            AtMost(50.0),
            unix(Peer::Agentwire, LoneOneCpu, P99),
            " us",
        ),
        aim(
            "lone call, one CPU, p99, TCP",
            AtMost(200.0),
            of(Peer::Agentwire, Carrier::Tcp, LoneOneCpu, P99),
            " us",
        ),
        aim(
            "lone call, one CPU, p50, to tarpc with JSON",
            AtMost(0.5),
            lone(Peer::TarpcJson),
            "",
        ),
        aim(
            "lone call, one CPU, p50, to tonic",
            AtMost(0.3),
            lone(Peer::Tonic),
            "",
        ),
        aim(
            "lone call, one CPU, p50, to agenkit",
            AtMost(0.12),
            lone(Peer::Agenkit),
            "",
        ),
        aim(
            "system calls of a lone call, to raw tokio without codec",
            AtMost(1.0),
            against(Peer::Raw, Lone, Syscalls),
            "",
        ),
        aim(
            "1 x 64, calls/s, to the usual multiplexer",
            AtLeast(2.0),
            against(Peer::Multiplexer, OneBySixtyFour, CallsPerSecond),
            "",
        ),
        aim(
            "1 x 64, calls/s, to tarpc with bincode",
            AtLeast(2.0),
            against(Peer::TarpcBincode, OneBySixtyFour, CallsPerSecond),
            "",
        ),
        aim(
            "1 x 64, CPU time of a call, to tarpc with JSON",
            AtMost(0.33),
            against(Peer::TarpcJson, OneBySixtyFour, Cpu),
            "",
        ),
        aim(
            "16 x 4, calls/s, to tarpc with bincode",
            AtLeast(1.0),
            against(Peer::TarpcBincode, SixteenByFour, CallsPerSecond),
            "",
        ),
        aim(
            "64 x 1, calls/s, to tarpc with bincode",
            AtLeast(1.0),
            against(Peer::TarpcBincode, SixtyFourByOne, CallsPerSecond),
            "",
        ),
        aim(
            "1 MiB echoes/s, JSON, to raw tokio with serde_json",
            AtLeast(2.5),
            against(Peer::RawSerdeJson, OneMiB, CallsPerSecond),
            "",
        ),
        aim(
            "1 MiB echoes/s, MessagePack, to raw tokio without codec",
            AtLeast(0.7),
            ratio(Peer::AgentwireMsgpack, Peer::Raw, OneMiB, CallsPerSecond),
            "",
        ),
        aim(
            "allocations of a lone call, both sides, beyond the caller's text",
            AtMost(12.0),
            allocations,
            "",
        ),
        aim(
            "10,000 connections: errors",
            AtMost(0.0),
            most.map(|step| step.errors as f64),
            "",
        ),
        aim(
            "10,000 connections: server memory of an idle one",
            AtMost(4096.0),
            most.map(|step| step.idle_memory),
            " bytes",
        ),
    ]
}

/// The carriers above TCP, and the libraries on which a user would build the same.
const CARRIERS: [(&str, Peer, Peer); 5] = [
    (
        "WebSocket: lone call, p50, to tokio-tungstenite",
        Peer::AgentwireWebsocket,
        Peer::Tungstenite,
    ),
    (
        "WebSocket: lone call, p50, to tokio-websockets",
        Peer::AgentwireWebsocket,
        Peer::TokioWebsockets,
    ),
    (
        "HTTP/1.1: lone call, p50, to axum with hyper",
        Peer::AgentwireHttp,
        Peer::AxumHttp,
    ),
    (
        "HTTP/2: lone call, p50, to axum with hyper",
        Peer::AgentwireH2c,
        Peer::AxumH2c,
    ),
    (
        "gRPC: lone call, p50, to tonic",
        Peer::AgentwireGrpc,
        Peer::Tonic,
    ),
];

/// The number of allocations that the caller itself makes for the text of a message in the `Lone`
/// scenario.
const CALLERS_OWN_ALLOCATIONS: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_is_met_up_to_its_bound() {
        let is_met = |bound, measured| {
            let (what, unit) = ("", "");
            Aim {
                what,
                bound,
                measured,
                unit,
            }
            .is_met()
        };
        assert_eq!(is_met(Bound::AtMost(1.1), Some(1.1)), Some(true));
        assert_eq!(is_met(Bound::AtMost(1.1), Some(1.2)), Some(false));
        assert_eq!(is_met(Bound::AtLeast(2.0), Some(2.0)), Some(true));
        assert_eq!(is_met(Bound::AtLeast(2.0), Some(1.9)), Some(false));
        assert_eq!(is_met(Bound::AtLeast(2.0), None), None);
    }
}
