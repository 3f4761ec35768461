use std::time::{Duration, Instant};

use agentwire::{
    Map, Value,
    registry::{Event, Registry, RegistryError, Watch, WatchScope},
};
use clap::Args;
use tokio::time::timeout;

use super::{ask_args::AskArgs, table};
use crate::{
    exit::{Exit, Failure},
    output, runtime,
};

/// Print what is registered, and then what happens
///
/// Each line is one agent: present, joined, updated, left or expired. A line that says "resync" comes before agents that
/// are present where something may have been missed. It goes on until it is stopped, and waits for a registry that
/// has gone away, and says so; --timeout is for the beginning.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    ask: AskArgs,

    /// Watch the instances of this agent only
    name: Option<String>,
}

const AFTER_HELP: &str = "\
Examples:
  agentwire registry watch unix:///tmp/registry.sock
  agentwire registry watch tcp://localhost:7000 weather
  agentwire registry watch tcp://localhost:7000 --json | jq --unbuffered -r .event";

impl WatchArgs {
    pub(crate) fn run(self) -> Result<(), Failure> {
        let scope = self.name.clone().map_or(WatchScope::All, WatchScope::Name);
        let registry = self.ask.open()?;
        runtime::run_client(async {
            let begun = Instant::now();
            // A watch waits for its registry, and does not say why it has to. Any question tells.
            registry.lookup(ANYBODY).await?;
            let mut watch = registry.watch(scope);
            let left = self.ask.timeout().saturating_sub(begun.elapsed());
            let Ok(mut next) = timeout(left, watch.next()).await else {
                return Err(self.not_begun());
            };
            while let Some(event) = next {
                let event = event?;
                let text = match self.ask.wants_json() {
                    true => format!("{}\n", Value::Map(as_json(&event))),
                    false => as_lines(&event),
                };
                output::print(text.as_bytes())?;
                next = until_next(&mut watch).await;
            }
            Ok(())
        })
    }

    fn not_begun(&self) -> Failure {
        let limit = self.ask.timeout();
        let text =
            format!("the registry did not begin to tell what is registered within {limit:?}");
        Failure::new(Exit::TimedOut, text)
    }
}

/// A name to look up, whoever has it.
const ANYBODY: &str = "agentwire";

/// How often to look whether the registry is still there.
const LOOK: Duration = Duration::from_millis(500);

/// The next event. People are told when the registry is lost meanwhile.
async fn until_next(watch: &mut Watch) -> Option<Result<Event, RegistryError>> {
    let mut was_in_touch = true;
    loop {
        if let Ok(next) = timeout(LOOK, watch.next()).await {
            return next;
        }
        let is_live = watch.is_live();
        if was_in_touch && !is_live {
            output::note("the registry is out of reach; waiting for it");
        }
        was_in_touch = is_live;
    }
}

/// As a registry tells it (PROTOCOL 12.8), a snapshot in one piece.
fn as_json(event: &Event) -> Map {
    let mut map = Map::from([("event", event.name())]);
    match event {
        Event::Snapshot {
            registrations,
            resync,
            ..
        } => {
            let all = registrations.iter().map(|found| found.to_map());
            map.insert("registrations", all.collect::<Value>());
            map.insert("resync", *resync);
        }
        other => {
            let about = other.registration().map(|found| found.to_map());
            map.insert("registration", about);
        }
    }
    map
}

fn as_lines(event: &Event) -> String {
    match event {
        Event::Snapshot {
            registrations,
            resync,
            ..
        } => {
            let head = if *resync { "resync\n" } else { "" };
            let all = registrations.iter();
            let all = all.map(|found| format!("present  {}\n", table::line(found)));
            head.to_owned() + &all.collect::<String>()
        }
        other => match other.registration() {
            Some(found) => format!("{:7}  {}\n", other.name(), table::line(found)),
            None => String::new(),
        },
    }
}

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
    fn events_are_lines() {
        let snapshot = Event::snapshot(vec![weather(), weather()], true);
        let expected = "\
resync
present  weather  -  tcp://host:1
present  weather  -  tcp://host:1
";
        assert_eq!(as_lines(&snapshot), expected);
        assert_eq!(as_lines(&Event::snapshot(Vec::new(), false)), "");
        let left = as_lines(&Event::Left(weather()));
        assert_eq!(left, "left     weather  -  tcp://host:1\n");
    }

    #[test]
    fn events_are_objects() {
        let snapshot = as_json(&Event::snapshot(vec![weather()], false));
        assert_eq!(
            snapshot["registrations"][0]["name"].as_str(),
            Some("weather")
        );
        assert_eq!(snapshot["resync"].as_bool(), Some(false));
        let expired = as_json(&Event::Expired(weather()));
        assert_eq!(expired["event"].as_str(), Some("expired"));
        assert_eq!(
            expired["registration"]["endpoint"].as_str(),
            Some("tcp://host:1")
        );
    }
}
