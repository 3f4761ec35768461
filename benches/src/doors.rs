//! The comparison of the carriers above TCP with the libraries that a user would pick instead.

use crate::{
    comparison::Comparison,
    peer::{Carrier, Peer},
    sample::{Cell, Metric, value},
    scenario::Scenario,
    table::{number, push_row},
};

/// A carrier of agentwire, and the peers that carry the same calls.
pub(crate) struct Door {
    pub(crate) ours: Peer,
    /// The variant that shares connections, if it is a peer of its own.
    shared: Peer,
    pub(crate) others: &'static [Peer],
}

impl Door {
    /// Returns all peers that carry the same calls.
    pub(crate) fn peers(&self) -> impl Iterator<Item = Peer> {
        let shared = Some(self.shared).filter(|shared| *shared != self.ours);
        let own = [self.ours].into_iter().chain(shared);
        own.chain(self.others.iter().copied())
    }
}

pub(crate) const DOORS: [Door; 4] = [
    Door {
        ours: Peer::AgentwireWebsocket,
        shared: Peer::AgentwireWebsocketShared,
        others: &[
            Peer::Tungstenite,
            Peer::TokioWebsockets,
            Peer::AgenkitWebsocket,
            Peer::AgentwireToAgenkitWebsocket,
            Peer::AgenkitToAgentwireWebsocket,
        ],
    },
    Door {
        ours: Peer::AgentwireHttp,
        shared: Peer::AgentwireHttp,
        others: &[
            Peer::AxumHttp,
            Peer::AgenkitHttp,
            Peer::AgentwireToAgenkitHttp,
            Peer::AgenkitToAgentwireHttp,
        ],
    },
    Door {
        ours: Peer::AgentwireH2c,
        shared: Peer::AgentwireH2c,
        others: &[Peer::AxumH2c],
    },
    Door {
        ours: Peer::AgentwireGrpc,
        shared: Peer::AgentwireGrpc,
        others: &[
            Peer::Tonic,
            Peer::AgenkitGrpc,
            Peer::AgentwireToAgenkitGrpc,
            Peer::AgenkitToAgentwireGrpc,
        ],
    },
];

/// Returns a table with the rows of each carrier. The number in brackets is the ratio to the value
/// of agentwire over the same carrier.
pub(crate) fn markdown(comparison: &Comparison) -> String {
    let mut text = String::new();
    push_row(&mut text, "peer", &COLUMNS.map(|(title, _, _)| title));
    push_row(&mut text, "---", &["---:"; COLUMNS.len()]);
    for door in &DOORS {
        let own = COLUMNS.map(|(_, scenario, metric)| {
            let peer = match scenario {
                Scenario::OneBySixtyFour => door.shared,
                _ => door.ours,
            };
            over_tcp(comparison, peer, scenario, metric)
        });
        let cells = own.map(|value| value.map_or_else(missing, number));
        push_row(&mut text, door.ours.label(), &cells);
        for &other in door.others {
            let mut column = 0;
            let cells = COLUMNS.map(|(_, scenario, metric)| {
                let own = own[column];
                column += 1;
                let value = over_tcp(comparison, other, scenario, metric);
                match (value, own) {
                    (Some(value), Some(own)) => format!("{} ({:.2})", number(value), value / own),
                    (Some(value), None) => number(value),
                    _ => missing(),
                }
            });
            push_row(&mut text, other.label(), &cells);
        }
    }
    text
}

/// Returns a median over TCP.
pub(crate) fn over_tcp(
    comparison: &Comparison,
    peer: Peer,
    scenario: Scenario,
    metric: Metric,
) -> Option<f64> {
    let cell = Cell {
        peer,
        carrier: Carrier::Tcp,
        scenario,
        metric,
    };
    value(&comparison.samples, cell)
}

fn missing() -> String {
    "–".to_owned()
}

const COLUMNS: [(&str, Scenario, Metric); 6] = [
    ("lone call: p50 us", Scenario::Lone, Metric::P50),
    ("p99 us", Scenario::Lone, Metric::P99),
    (
        "1 x 64: calls/s",
        Scenario::OneBySixtyFour,
        Metric::CallsPerSecond,
    ),
    (
        "64 x 1: calls/s",
        Scenario::SixtyFourByOne,
        Metric::CallsPerSecond,
    ),
    ("1 MiB echoes/s", Scenario::OneMiB, Metric::CallsPerSecond),
    (
        "server memory of an idle connection, bytes",
        Scenario::Idle,
        Metric::Memory,
    ),
];
