//! Line charts.

use super::svg::{Anchor, Svg, WIDTH};
use crate::{
    peer::Peer,
    scale::{Growth, Step},
    table::number,
};

/// Draws one line for each peer. The horizontal axis is the number of connections, and both axes
/// are logarithmic.
pub(super) fn draw(svg: &mut Svg, growth: &Growth, title: &str, of: fn(&Step) -> f64) {
    let mut peers: Vec<Peer> = growth.steps.iter().map(|step| step.peer).collect();
    peers.sort();
    peers.dedup();
    let exponents = |of: &dyn Fn(&Step) -> f64| {
        let logs = growth.steps.iter().map(|step| of(step).log10());
        let (low, high) = logs.fold((f64::MAX, f64::MIN), |(low, high), log| {
            (low.min(log), high.max(log))
        });
        // The axis covers at least one decade.
        (low.floor(), high.ceil().max(low.floor() + 1.0))
    };
    let (left, right) = exponents(&|step| step.connections as f64);
    let (low, high) = exponents(&of);

    let top = svg.add_row(TITLE + HEIGHT + BELOW) + TITLE;
    let x = |log: f64| LEFT + (log - left) / (right - left) * (WIDTH - LEFT - RIGHT);
    let y = |log: f64| top + HEIGHT - (log - low) / (high - low) * HEIGHT;
    svg.text(
        (8.0, top - 12.0),
        Anchor::Start,
        r#"font-weight="600""#,
        title,
    );
    for log in decades(low, high) {
        svg.line(&[(x(left), y(log)), (x(right), y(log))], GRID, 1.0);
        let label = number(10_f64.powf(log));
        svg.text((LEFT - 8.0, y(log) + 4.0), Anchor::End, "", &label);
    }
    for log in decades(left, right) {
        svg.line(&[(x(log), y(low)), (x(log), y(high))], GRID, 1.0);
        let label = number(10_f64.powf(log));
        svg.text((x(log), top + HEIGHT + 16.0), Anchor::Middle, "", &label);
    }
    let middle = (x((left + right) / 2.0), top + HEIGHT + 32.0);
    svg.text(middle, Anchor::Middle, "", "connections");

    for (index, peer) in peers.into_iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        let steps = growth.steps.iter().filter(|step| step.peer == peer);
        let points: Vec<(f64, f64)> = steps
            .map(|step| (x((step.connections as f64).log10()), y(of(step).log10())))
            .collect();
        svg.line(&points, color, 2.5);
        // Draw the legend to the right of the lines.
        let place = (WIDTH - RIGHT + 12.0, top + 14.0 + 18.0 * index as f64);
        svg.text(
            place,
            Anchor::Start,
            &format!(r#"fill="{color}""#),
            peer.label(),
        );
    }
}

fn decades(from: f64, to: f64) -> impl Iterator<Item = f64> {
    (from as i32..=to as i32).map(f64::from)
}

const LEFT: f64 = 80.0;
const RIGHT: f64 = 180.0;
const HEIGHT: f64 = 220.0;
const TITLE: f64 = 30.0;
const BELOW: f64 = 40.0;

const COLORS: [&str; 4] = ["#57606a", "#1f6feb", "#bf8700", "#8250df"];
const GRID: &str = "#d8dee4";
