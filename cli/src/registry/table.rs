//! Formatting of registrations as text.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use agentwire::{Map, registry::Registration, transport::internal::Untrusted};
use unicode_width::UnicodeWidthStr;

use crate::output;

/// Which columns a table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Narrow,
    /// With the instance id, the capabilities and the metadata.
    Wide,
}

/// Renders registrations as an aligned table. Returns an empty string if there are none.
pub(super) fn table(registrations: &[Arc<Registration>], width: Width) -> String {
    if registrations.is_empty() {
        return String::new();
    }
    let now = SystemTime::now();
    let mut rows = vec![HEADER.map(str::to_owned)];
    rows.extend(registrations.iter().map(|it| row(it, now)));
    let columns = match width {
        Width::Narrow => NARROW,
        Width::Wide => HEADER.len(),
    };
    let rows: Vec<_> = rows.iter().map(|row| &row[..columns]).collect();
    align(&rows)
}

/// Renders one registration as a line without the time of its last heartbeat.
pub(super) fn line(registration: &Registration) -> String {
    let [name, version, endpoint, ..] = row(registration, SystemTime::now());
    [name, version, endpoint].join(GAP)
}

fn row(registration: &Registration, now: SystemTime) -> [String; 7] {
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
        match &*registration.instance {
            "" => "-".to_owned(),
            instance => Untrusted(instance).to_string(),
        },
        json(&registration.capabilities),
        json(&registration.metadata),
    ]
}

fn json(map: &Map) -> String {
    if map.is_empty() {
        "-".to_owned()
    } else {
        Untrusted(output::json(map.clone())).to_string()
    }
}

fn age(ago: Duration) -> String {
    let whole = Duration::from_secs(ago.as_secs());
    format!("{} ago", humantime::format_duration(whole))
}

fn align(rows: &[&[String]]) -> String {
    let width = |column: usize| {
        let widths = rows.iter().map(|row| row[column].width());
        widths.max().unwrap_or_default()
    };
    let columns = rows.first().map_or(0, |row| row.len());
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text += cell;
            if column + 1 < columns {
                // The padding of `format!` counts characters, not cells.
                text.extend(std::iter::repeat_n(' ', width - cell.width()));
                text += GAP;
            }
        }
        text.push('\n');
    }
    text
}

const HEADER: [&str; 7] = [
    "NAME",
    "VERSION",
    "ENDPOINT",
    "HEARTBEAT",
    "INSTANCE",
    "CAPABILITIES",
    "METADATA",
];

/// The number of columns of a narrow table.
const NARROW: usize = 4;

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
        assert_eq!(table(&found, Width::Narrow), expected);
        assert_eq!(table(&[], Width::Wide), "");
    }

    #[test]
    fn wide_characters_take_two_cells() {
        let found = [
            found("天気予報サービス", "1.0.0", Duration::ZERO),
            found("a", "1.0.0", Duration::ZERO),
        ];
        let table = table(&found, Width::Narrow);
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
        assert!(table(&[Arc::new(ahead)], Width::Narrow).ends_with("  0s ago\n"));
    }
}
