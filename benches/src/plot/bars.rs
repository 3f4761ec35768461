//! Bar charts.

use clap::ValueEnum;

use super::svg::{Anchor, Svg, WIDTH};
use crate::{
    comparison::Comparison,
    peer::{Carrier, Peer},
    sample::{Cell, Metric, value},
    scenario::Scenario,
    table::{number, ours},
};

/// Draws a bar for each peer. The values are for Unix sockets or, if not available, for TCP.
pub(super) fn draw(
    svg: &mut Svg,
    comparison: &Comparison,
    title: &str,
    scenario: Scenario,
    metric: Metric,
) {
    let of = |peer: Peer| {
        let over = |carrier| {
            let cell = Cell {
                peer,
                carrier,
                scenario,
                metric,
            };
            Some((carrier, value(&comparison.samples, cell)?))
        };
        over(Carrier::Unix).or_else(|| over(Carrier::Tcp))
    };
    let bars: Vec<(Peer, Carrier, f64)> = Peer::value_variants()
        .iter()
        .filter_map(|&peer| of(peer).map(|(carrier, value)| (peer, carrier, value)))
        .collect();
    let longest = bars.iter().map(|(_, _, value)| *value).fold(0.0, f64::max);
    let end = of(ours(scenario)).map_or(longest, |(_, ours)| longest.min(MAX_RATIO * ours));
    let scale = (WIDTH - LABELS - NUMBERS) / end;

    let top = svg.add_row(TITLE);
    svg.text(
        (8.0, top + 18.0),
        Anchor::Start,
        r#"font-weight="600""#,
        title,
    );
    for (peer, carrier, value) in bars {
        let top = svg.add_row(ROW);
        let label = match carrier {
            Carrier::Unix => peer.label().to_owned(),
            Carrier::Tcp => format!("{}, TCP", peer.label()),
        };
        let color = if peer.is_agentwire() { OURS } else { THEIRS };
        let is_cut = value > end;
        let length = value.min(end) * scale;
        svg.text((LABELS - 8.0, top + 14.0), Anchor::End, "", &label);
        svg.rect((LABELS, top + 3.0), (length, ROW - 6.0), color);
        if is_cut {
            // Draw two white strokes across the end of a truncated bar.
            for offset in [14.0, 20.0] {
                let x = LABELS + length - offset;
                svg.line(&[(x, top + ROW - 1.0), (x + 6.0, top + 1.0)], "#fff", 2.0);
            }
        }
        let position = (LABELS + length + 6.0, top + 14.0);
        svg.text(position, Anchor::Start, "", &number(value));
    }
    svg.add_row(ROW / 2.0);
}

const LABELS: f64 = 220.0;
const NUMBERS: f64 = 80.0;
const ROW: f64 = 20.0;
const TITLE: f64 = 30.0;

/// The maximum ratio of a bar to the bar of agentwire. Longer bars are truncated, because otherwise
/// the bar of agentwire would be too short.
const MAX_RATIO: f64 = 5.0;

const OURS: &str = "#1f6feb";
const THEIRS: &str = "#9aa4b2";
