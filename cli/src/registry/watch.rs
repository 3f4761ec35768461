//! The command `registry watch`.

use std::time::{Duration, Instant, SystemTime};

use agentwire::{
    Map, Value,
    registry::{Event, Registry, RegistryError, Watch, WatchScope, backend::RegistrationExt},
};
use clap::Args;
use tokio::time::timeout;

use super::{client_args::ClientArgs, table};
use crate::{
    exit::{CliError, Exit},
    logging::CLOCK,
    output, runtime,
};

/// Print the registered agents, then every change
///
/// Each line shows the time at which it was printed, in UTC, one agent, and the state of the agent:
/// present, joined, updated, left or expired. If the
/// connection to the registry is lost, the command prints a warning and reconnects. The command
/// then prints the line "resync" and all present agents, because changes may have been missed. The
/// command runs until it is stopped. --timeout applies only to the first answer.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    client: ClientArgs,

    /// Watch only the instances of this agent
    name: Option<String>,
}

impl WatchArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let scope = self.name.clone().map_or(WatchScope::All, WatchScope::Name);
        let registry = self.client.open()?;
        runtime::run_client(async {
            let started = Instant::now();
            // A watch reconnects without reporting an error, so check the connection with a lookup
            // first.
            registry.lookup(PROBE_NAME).await?;
            let mut watch = registry.watch(scope);
            let left = self.client.timeout().saturating_sub(started.elapsed());
            let Ok(mut next) = timeout(left, watch.next()).await else {
                return Err(self.snapshot_timed_out());
            };
            while let Some(event) = next {
                print(&event?, self.client.wants_json())?;
                next = next_event(&mut watch).await;
            }
            Ok(())
        })
    }

    fn snapshot_timed_out(&self) -> CliError {
        let limit = self.client.timeout();
        let text = format!("timed out after {limit:?} waiting for the snapshot of the watch");
        CliError::new(Exit::TimedOut, text)
    }
}

/// Waits for the next event. Prints a warning if the connection to the registry is lost. Returns
/// `None` once the reader of the output has ended, as after `| head -n 1`.
async fn next_event(watch: &mut Watch) -> Option<Result<Event, RegistryError>> {
    let mut was_live = true;
    loop {
        if let Ok(next) = timeout(LIVENESS_POLL_INTERVAL, watch.next()).await {
            return next;
        }
        if output::has_lost_reader() {
            return None;
        }
        let is_live = watch.is_live();
        if was_live && !is_live {
            output::warn("lost the connection to the registry; reconnecting");
        }
        was_live = is_live;
    }
}

/// Prints an event. Snapshots are printed in pieces, because their text may take several times as
/// much memory as the registrations.
fn print(event: &Event, wants_json: bool) -> Result<(), CliError> {
    let Event::Snapshot {
        registrations,
        resync,
        ..
    } = event
    else {
        let text = if wants_json {
            format!("{}\n", output::json(as_json(event, &now(true))))
        } else {
            as_lines(event, &now(false))
        };
        return output::print(text.as_bytes());
    };
    let now = now(wants_json);
    if !wants_json {
        let empty = Event::snapshot(Vec::new(), *resync);
        output::print(as_lines(&empty, &now).as_bytes())?;
        for some in registrations.chunks(PIECE) {
            let lines = as_lines(&Event::snapshot(some.to_vec(), false), &now);
            output::print(lines.as_bytes())?;
        }
        return Ok(());
    }
    let head = format!(r#"{{"time": "{now}", "event": "snapshot", "registrations": ["#);
    output::print(head.as_bytes())?;
    for (index, some) in registrations.chunks(PIECE).enumerate() {
        let some: Vec<_> = some.iter().map(|it| output::json(it.to_map())).collect();
        let separator = if index == 0 { "" } else { ", " };
        output::print(format!("{separator}{}", some.join(", ")).as_bytes())?;
    }
    output::print(format!("], \"resync\": {resync}}}\n").as_bytes())
}

/// Returns the current time. A table on a terminal has no date.
fn now(wants_json: bool) -> String {
    let time = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
    match time.get(CLOCK) {
        Some(clock) if output::is_terminal() && !wants_json => clock.to_owned(),
        _ => time,
    }
}

/// Returns the event in its wire format (PROTOCOL 12.8), except that it has a time, and that a
/// snapshot is a single event.
fn as_json(event: &Event, time: &str) -> Map {
    let mut map = Map::from([("time", time), ("event", event.name())]);
    match event {
        Event::Snapshot {
            registrations,
            resync,
            ..
        } => {
            let all = registrations.iter().map(|it| it.to_map());
            map.insert("registrations", all.collect::<Value>());
            map.insert("resync", *resync);
        }
        other => {
            let registration = other.registration().map(|it| it.to_map());
            map.insert("registration", registration);
        }
    }
    map
}

fn as_lines(event: &Event, time: &str) -> String {
    match event {
        Event::Snapshot {
            registrations,
            resync,
            ..
        } => {
            let head = if *resync {
                format!("{time}  resync\n")
            } else {
                String::new()
            };
            let all = registrations.iter();
            let all = all.map(|it| format!("{time}  present  {}\n", table::line(it)));
            head + &all.collect::<String>()
        }
        other => match other.registration() {
            Some(it) => format!("{time}  {:7}  {}\n", other.name(), table::line(it)),
            None => String::new(),
        },
    }
}

const AFTER_HELP: &str = "\
Examples:
  agentwire registry watch unix:///tmp/registry.sock
  agentwire registry watch tcp://localhost:7000 weather
  agentwire registry watch tcp://localhost:7000 --json | jq --unbuffered -r .event";

/// How many registrations of a snapshot are printed at a time.
const PIECE: usize = 64;

/// The name that is looked up to check the connection to the registry. The name does not need to be
/// registered.
const PROBE_NAME: &str = "agentwire";

/// The interval at which to check whether the watch is still connected.
const LIVENESS_POLL_INTERVAL: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agentwire::registry::Registration;

    use super::*;

    fn weather() -> Arc<Registration> {
        let endpoint = "tcp://host:1".parse().unwrap();
        Arc::new(Registration::new("weather", endpoint))
    }

    #[test]
    fn events_are_printed_as_lines() {
        let snapshot = Event::snapshot(vec![weather(), weather()], true);
        let expected = "\
12:00Z  resync
12:00Z  present  weather  -  tcp://host:1
12:00Z  present  weather  -  tcp://host:1
";
        assert_eq!(as_lines(&snapshot, "12:00Z"), expected);
        assert_eq!(as_lines(&Event::snapshot(Vec::new(), false), "12:00Z"), "");
        let left = as_lines(&Event::Left(weather()), "12:00Z");
        assert_eq!(left, "12:00Z  left     weather  -  tcp://host:1\n");
    }

    #[test]
    fn events_are_printed_as_objects() {
        let snapshot = as_json(&Event::snapshot(vec![weather()], false), "12:00Z");
        assert_eq!(
            snapshot["registrations"][0]["name"].as_str(),
            Some("weather")
        );
        assert_eq!(snapshot["resync"].as_bool(), Some(false));
        let expired = as_json(&Event::Expired(weather()), "12:00Z");
        assert_eq!(expired["event"].as_str(), Some("expired"));
        assert_eq!(
            expired["registration"]["endpoint"].as_str(),
            Some("tcp://host:1")
        );
    }
}
