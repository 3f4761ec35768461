//! The forms of a log line: text and JSON.

use agentwire::{Map, Value};
use anstyle::{AnsiColor, Style};
use tracing::{Level, Metadata};

use super::{clock, escape::escaped, timestamp};
use crate::output;

/// Returns an event as one JSON object. The fields of the spans become fields of the object, and
/// the fields of the event have precedence.
pub(super) fn json(metadata: &Metadata<'_>, spans: Vec<(&str, Map)>, event: Map) -> String {
    let level = metadata.level().to_string().to_ascii_lowercase();
    let mut line = Map::from([
        ("timestamp", Value::from(timestamp())),
        ("level", level.into()),
        ("target", metadata.target().into()),
        ("message", Value::Null),
    ]);
    for (_, fields) in spans {
        extend(&mut line, fields);
    }
    extend(&mut line, event);
    output::json(line) + "\n"
}

fn extend(line: &mut Map, fields: Map) {
    for (name, value) in fields {
        // The spans of the library call the id of a request `id`.
        let name = if name == "id" { "request_id" } else { &name };
        line.insert(name, value);
    }
}

/// Returns an event as one line of text.
pub(super) fn text(
    metadata: &Metadata<'_>,
    spans: Vec<(&str, Map)>,
    mut event: Map,
    is_colored: bool,
) -> String {
    let level = *metadata.level();
    let style = |style: Style| if is_colored { style } else { Style::new() };
    let (dim, bold) = (style(Style::new().dimmed()), style(Style::new().bold()));
    let color = style(level_style(level));
    let mut line = format!("{dim}{}{dim:#} {color}{level:>5}{color:#} ", clock());
    for (name, fields) in spans {
        line += &format!("{bold}{name}{bold:#}{dim}{{");
        push_fields(&mut line, &fields, " ", Style::new());
        line += &format!("}}{dim:#}: ");
    }
    let message = event.remove("message").unwrap_or_default();
    let message = message.to_plain_text();
    match metadata.target() {
        REQUESTS => push_request(&mut line, &event, is_colored),
        FRAMES => push_frame(&mut line, &message, &event, dim),
        _ => {
            line += &escaped(&message);
            if !event.is_empty() {
                line.push(' ');
                push_fields(&mut line, &event, " ", dim);
            }
        }
    }
    line.push('\n');
    line
}

/// Appends a request or a call: its method and agent, its outcome, and where it came from or went.
fn push_request(line: &mut String, event: &Map, is_colored: bool) {
    let text = |key: &str| event.get(key).map(Value::to_plain_text).unwrap_or_default();
    let code = text("code");
    let style = |style: Style| if is_colored { style } else { Style::new() };
    let (dim, bold) = (style(Style::new().dimmed()), style(Style::new().bold()));
    let outcome = style(if code == "OK" {
        AnsiColor::Green.on_default()
    } else {
        AnsiColor::Red.on_default()
    });
    let (method, agent) = (escaped(&text("method")), escaped(&text("agent")));
    *line += &format!("{bold}{method}{bold:#}");
    if !agent.is_empty() {
        *line += &format!(" {agent}");
    }
    *line += &format!(
        " {outcome}{}{outcome:#} {} ms",
        escaped(&code),
        text("duration_ms")
    );
    for (key, word) in [("peer", "from"), ("endpoint", "at")] {
        let place = text(key);
        if !place.is_empty() {
            *line += &format!(" {dim}{word}{dim:#} {}", escaped(&place));
        }
    }
    *line += &format!(" {dim}id={}{dim:#}", escaped(&text("request_id")));
}

/// Appends a frame: its direction and length, the peer, and its JSON.
fn push_frame(line: &mut String, direction: &str, event: &Map, dim: Style) {
    let text = |key: &str| event.get(key).map(Value::to_plain_text).unwrap_or_default();
    let (arrow, word) = if direction == "sent" {
        ("->", "to")
    } else {
        ("<-", "from")
    };
    let (len, format, peer) = (text("len"), text("format"), escaped(&text("peer")));
    *line += &format!("{arrow} {len} bytes {dim}{format} {word} {peer}{dim:#} ");
    *line += &escaped(&text("payload"));
}

fn push_fields(line: &mut String, fields: &Map, separator: &str, style: Style) {
    for (i, (name, value)) in fields.iter().enumerate() {
        if i > 0 {
            *line += separator;
        }
        let value = escaped(&value.to_plain_text());
        *line += &format!("{style}{name}={style:#}{value}");
    }
}

fn level_style(level: Level) -> Style {
    match level {
        Level::ERROR => AnsiColor::Red.on_default().bold(),
        Level::WARN => AnsiColor::Yellow.on_default(),
        Level::INFO => AnsiColor::Green.on_default(),
        Level::DEBUG => AnsiColor::Blue.on_default(),
        Level::TRACE => AnsiColor::Magenta.on_default(),
    }
}

/// The target of the events about requests and calls.
pub(super) const REQUESTS: &str = "agentwire::requests";

/// The target of the events about frames.
const FRAMES: &str = "agentwire::frames";
