//! Bar charts.

use clap::ValueEnum;

use super::svg::{Anchor, Svg, WIDTH};
use crate::{
    comparison::Comparison,
    doors::{DOORS, Door, over_tcp},
    peer::{Carrier, Peer},
    sample::{Cell, Metric, value},
    scenario::Scenario,
    table::{number, ours},
};

/// Draws a bar for each peer over Unix sockets or, if not available, over TCP. The carriers above
/// TCP have a plot of their own.
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
    let bars: Vec<Bar> = Peer::value_variants()
        .iter()
        .filter_map(|&peer| of(peer).map(|(carrier, value)| (peer, carrier, value)))
        .filter(|(peer, carrier, _)| *carrier == Carrier::Unix || !peer.is_door())
        .map(|(peer, carrier, value)| match carrier {
            Carrier::Unix => (peer, peer.label().to_owned(), value),
            Carrier::Tcp => (peer, format!("{}, TCP", peer.label()), value),
        })
        .collect();
    draw_bars(svg, title, &bars, of(ours(scenario)).map(|(_, ours)| ours));
}

/// Draws a bar for each carrier above TCP, and for the peers that carry the same calls.
pub(super) fn draw_doors(
    svg: &mut Svg,
    comparison: &Comparison,
    title: &str,
    scenario: Scenario,
    metric: Metric,
) {
    let of = |peer| over_tcp(comparison, peer, scenario, metric);
    let peers = DOORS.iter().flat_map(Door::peers);
    let bars: Vec<Bar> = peers
        .filter_map(|peer| Some((peer, peer.label().to_owned(), of(peer)?)))
        .collect();
    draw_bars(svg, title, &bars, of(Peer::AgentwireHttp));
}

/// Draws bars. Bars that are much longer than the reference are cut.
fn draw_bars(svg: &mut Svg, title: &str, bars: &[Bar], reference: Option<f64>) {
    let longest = bars.iter().map(|(_, _, value)| *value).fold(0.0, f64::max);
    let end = reference.map_or(longest, |reference| longest.min(MAX_RATIO * reference));
    let scale = (WIDTH - LABELS - NUMBERS) / end;
    let top = svg.add_row(TITLE);
    svg.text(
        (8.0, top + 18.0),
        Anchor::Start,
        r#"font-weight="600""#,
        title,
    );
    for (peer, label, value) in bars {
        let value = *value;
        let top = svg.add_row(ROW);
        let color = if peer.is_agentwire() { OURS } else { THEIRS };
        let is_cut = value > end;
        let length = value.min(end) * scale;
        svg.text((LABELS - 8.0, top + 14.0), Anchor::End, "", label);
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

/// A peer, its label and its value.
type Bar = (Peer, String, f64);

const LABELS: f64 = 240.0;
const NUMBERS: f64 = 80.0;
const ROW: f64 = 20.0;
const TITLE: f64 = 30.0;

/// The maximum ratio of a bar to the bar of agentwire. Longer bars are truncated, because otherwise
/// the bar of agentwire would be too short.
const MAX_RATIO: f64 = 5.0;

const OURS: &str = "#1f6feb";
const THEIRS: &str = "#9aa4b2";
