//! Formatting of registrations as text.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use agentwire::{registry::Registration, transport::internal::Untrusted};
use unicode_width::UnicodeWidthStr;

/// Renders registrations as an aligned table. Returns an empty string if there are none.
pub(super) fn table(registrations: &[Arc<Registration>]) -> String {
    if registrations.is_empty() {
        return String::new();
    }
    let now = SystemTime::now();
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(registrations.iter().map(|it| row(it, now)));
    align(&rows)
}

/// Renders one registration as a line without the time of its last heartbeat.
pub(super) fn line(registration: &Registration) -> String {
    let [name, version, endpoint, _] = row(registration, SystemTime::now());
    [name, version, endpoint].join(GAP)
}

fn row(registration: &Registration, now: SystemTime) -> [String; 4] {
    let version = registration.version.as_ref();
    let version = version.map_or_else(|| "-".to_owned(), ToString::to_string);
    let heard = registration.last_heartbeat().to_system_time();
    // If the clock of the registry is ahead of the local clock, show an age of zero.
    let ago = heard.map(|heard| now.duration_since(heard).unwrap_or_default());
    let endpoint = Untrusted(&registration.endpoint).to_string();
    [
        Untrusted(&registration.name).to_string(),
        version,
        endpoint,
        ago.map_or_else(|| "-".to_owned(), age),
    ]
}

fn age(ago: Duration) -> String {
    let whole = Duration::from_secs(ago.as_secs());
    format!("{} ago", humantime::format_duration(whole))
}

fn align(rows: &[[String; 4]]) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].width());
        widths.max().unwrap_or_default()
    };
    let widths = [width(0), width(1), width(2)];
    let mut text = String::new();
    for [name, version, endpoint, heard] in rows {
        for (cell, width) in [name, version, endpoint].into_iter().zip(widths) {
            // The padding of `format!` counts characters, not cells.
            text += cell;
            text.extend(std::iter::repeat_n(' ', width - cell.width()));
            text += GAP;
        }
        text += heard;
        text.push('\n');
    }
    text
}

const HEADER: [&str; 4] = ["NAME", "VERSION", "ENDPOINT", "HEARTBEAT"];

/// The space between two columns.
const GAP: &str = "  ";

#[cfg(test)]
mod tests {
    use agentwire::{Timestamp, registry::backend::RegistrationExt};

    use super::*;

    fn found(name: &str, version: &str, heard: Duration) -> Arc<Registration> {
        let endpoint = format!("tcp://host:{}", name.len()).parse().unwrap();
        let mut found = Registration::new(name, endpoint);
        found.version = version.parse().ok();
        Arc::new(found.with_registered_at(Timestamp::from(SystemTime::now() - heard)))
    }

    #[test]
    fn columns_are_as_wide_as_their_longest_cell() {
        let minute = Duration::from_secs(61);
        let found = [
            found("wetter für alle", "10.0.0-rc.1", minute),
            found("a", "", minute),
        ];
        let expected = "\
NAME             VERSION      ENDPOINT       HEARTBEAT
wetter für alle  10.0.0-rc.1  tcp://host:16  1m 1s ago
a                -            tcp://host:1   1m 1s ago
";
        assert_eq!(table(&found), expected);
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn wide_characters_take_two_cells() {
        let found = [
            found("天気予報サービス", "1.0.0", Duration::ZERO),
            found("a", "1.0.0", Duration::ZERO),
        ];
        let table = table(&found);
        let lines: Vec<_> = table.lines().skip(1).collect();
        let cells_before = |line: &str| line.split("1.0.0").next().map(UnicodeWidthStr::width);
        assert_eq!(cells_before(lines[0]), Some(18));
        assert_eq!(cells_before(lines[1]), Some(18));
    }

    #[test]
    fn a_registry_clock_that_is_ahead_is_tolerated() {
        let ahead = Registration::new("a", "tcp://host:1".parse().unwrap()).with_registered_at(
            Timestamp::from(SystemTime::now() + Duration::from_secs(3600)),
        );
        assert!(table(&[Arc::new(ahead)]).ends_with("  0s ago\n"));
    }
}
