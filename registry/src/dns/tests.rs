//! Tests with a resolver whose answers are set, in paused time.

use std::{collections::VecDeque, io, net::IpAddr};

use agentwire_transport::{BoxFuture, internal::Mutex};
use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use super::*;
use crate::Event;

/// A resolver that gives each answer once, and the last answer forever.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    lookups: usize,
    answers: VecDeque<Result<Vec<IpAddr>, io::ErrorKind>>,
}

impl Answers {
    fn new(answers: &[Result<&[&str], io::ErrorKind>]) -> Self {
        let parse = |addresses: &[&str]| addresses.iter().map(|one| one.parse().unwrap()).collect();
        let answers = answers.iter().map(|answer| (*answer).map(parse)).collect();
        Self(Arc::new(Mutex::new(Script {
            lookups: 0,
            answers,
        })))
    }

    fn lookups(&self) -> usize {
        self.0.lock().lookups
    }
}

impl Resolve for Answers {
    fn resolve<'a>(&'a self, name: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        assert_eq!(name, "agents.svc");
        Box::pin(async {
            sleep(Duration::from_millis(20)).await;
            let mut script = self.0.lock();
            script.lookups += 1;
            let answer = match script.answers.len() {
                1 => script.answers[0].clone(),
                _ => script.answers.pop_front().unwrap(),
            };
            answer.map_err(io::Error::from)
        })
    }
}

fn registry(answers: &Answers) -> DnsRegistry {
    DnsRegistry::parse_with("dns://agents.svc:80", answers.clone()).unwrap()
}

fn endpoints(registrations: &[Arc<Registration>]) -> Vec<String> {
    let endpoints = registrations.iter().map(|one| one.endpoint.to_string());
    endpoints.collect()
}

fn shown(event: &Event) -> String {
    match event {
        Event::Snapshot { registrations, .. } => format!("{:?}", endpoints(registrations)),
        other => {
            let registration = other.registration().unwrap();
            format!("{} {}", other.name(), registration.endpoint)
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_addresses_of_a_name_are_instances_of_each_agent() {
    let answers = Answers::new(&[Ok(&["10.0.0.2", "10.0.0.1", "10.0.0.2", "fd00::1"])]);
    let registry = registry(&answers);
    for name in ["weather", "news"] {
        let found = registry.lookup(name).await.unwrap();
        assert!(found.iter().all(|one| one.name == name));
        let expected = [
            "tcp://10.0.0.1:80",
            "tcp://10.0.0.2:80",
            "tcp://[fd00::1]:80",
        ];
        assert_eq!(endpoints(&found), expected);
        let found = registry.find(Query::new().name(name)).await.unwrap();
        assert_eq!(endpoints(&found), expected);
    }
    assert_eq!(registry.list().await.unwrap()[0].name, "agents.svc");
    assert_eq!(answers.lookups(), 1, "answers are shared for a second");
    sleep(Duration::from_secs(2)).await;
    registry.lookup("weather").await.unwrap();
    assert_eq!(answers.lookups(), 2);
}

#[tokio::test]
async fn nothing_can_be_changed() {
    let registry = registry(&Answers::default());
    let registration = Registration::new("weather", "tcp://a:1".parse().unwrap());
    let instance = InstanceRef::from(&registration);
    for outcome in [
        registry.register(registration).await.map(drop),
        registry.unregister(&instance).await,
        registry.heartbeat(&instance).await,
    ] {
        let error = outcome.unwrap_err();
        assert!(matches!(error, RegistryError::ReadOnly { .. }), "{error:?}");
        assert!(error.to_string().contains("dns://agents.svc:80"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn lookups_at_the_same_time_ask_once() {
    let answers = Answers::new(&[Ok(&["10.0.0.1"])]);
    let registry = registry(&answers);
    let lookups = (0..50).map(|_| registry.lookup("weather"));
    let found = futures_util::future::join_all(lookups).await;
    assert!(found.iter().all(|found| found.as_ref().unwrap().len() == 1));
    // A lookup that is given up does not block others.
    sleep(Duration::from_secs(2)).await;
    assert!(registry.lookup("weather").now_or_never().is_none());
    assert_eq!(registry.lookup("weather").await.unwrap().len(), 1);
    assert_eq!(answers.lookups(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_watch_reports_changes_every_few_seconds_and_survives_failures() {
    let answers = Answers::new(&[
        Err(io::ErrorKind::WouldBlock),
        Ok(&["10.0.0.1", "10.0.0.2"]),
        Ok(&["10.0.0.2", "10.0.0.3"]),
        Err(io::ErrorKind::TimedOut),
        // A name without addresses is asked for twice.
        Err(io::ErrorKind::NotFound),
        Ok(&["10.0.0.3"]),
        Err(io::ErrorKind::NotFound),
        Ok(&[]),
    ]);
    let registry = registry(&answers);
    let start = Instant::now();
    let mut watch = registry.watch(WatchScope::name("weather"));
    let mut events = Vec::new();
    while answers.lookups() < 8 || events.len() < 5 {
        let event = watch.next().await.unwrap().unwrap();
        assert!(watch.is_live());
        events.push(shown(&event));
    }
    assert_eq!(
        events,
        [
            r#"["tcp://10.0.0.1:80", "tcp://10.0.0.2:80"]"#,
            "left tcp://10.0.0.1:80",
            "joined tcp://10.0.0.3:80",
            "left tcp://10.0.0.2:80",
            "left tcp://10.0.0.3:80",
        ]
    );
    let elapsed = start.elapsed();
    let pauses = Duration::from_secs(5) * 7;
    assert!(elapsed <= pauses + Duration::from_secs(1), "{elapsed:?}");
    assert!(elapsed >= pauses * 2 / 3, "{elapsed:?}");
    drop(registry);
    assert!(watch.next().await.is_none(), "the registry is gone");
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_not_live_while_the_name_server_fails() {
    let answers = Answers::new(&[Ok(&["10.0.0.1"]), Err(io::ErrorKind::WouldBlock)]);
    let registry = registry(&answers).refresh_interval(Duration::from_secs(30));
    let mut watch = registry.watch(WatchScope::All);
    assert!(watch.next().await.is_some());
    let next = tokio::time::timeout(Duration::from_secs(100), watch.next()).await;
    assert!(next.is_err() && !watch.is_live());
    assert!(
        (3..=6).contains(&answers.lookups()),
        "{}",
        answers.lookups()
    );
    let error = registry.lookup("weather").await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
}
