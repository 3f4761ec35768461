//! Tests of registering and unregistering.

use std::time::Duration;

use agentwire_codec::{Timestamp, map};

use tokio::time::{Instant, sleep};

use super::backend::{
    Backend, Fixture, LONG_LEASE, SHORT_LEASE, agent, endpoint, next, ports, within,
};
use crate::{
    Event, InstanceRef, NameProblem, Registration, RegistrationProblem, Registry, RegistryConfig,
    RegistryError, WatchScope, backend::RegistrationExt,
};

pub async fn a_registration_is_returned_complete<B: Backend>() {
    let fixture = Fixture::<B>::start("found").await;
    let weather = agent("weather")
        .with_version("1.2.3-rc.1+build.7")
        .with_capabilities(map! {
            "languages": ["en", "ja"],
            "tools": [{"name": "forecast", "parameters": {"days": 7, "deep": [[{"x": null}]]}}],
        })
        .with_metadata("größe", 1.5)
        .with_metadata("empty", "");
    fixture.register(&weather).await;
    let found = fixture.lookup("weather").await;
    assert_eq!(found.len(), 1);
    assert!(found[0].is_same_offer(&weather), "{:?}", found[0]);
    let listed = fixture.list().await;
    assert!(listed.len() == 1 && listed[0].is_same_offer(&weather));
}

pub async fn an_unknown_name_has_no_instances<B: Backend>() {
    let fixture = Fixture::<B>::start("unknown").await;
    fixture.register(&agent("weather")).await;
    assert!(fixture.lookup("Weather").await.is_empty());
    assert!(fixture.lookup("weather report").await.is_empty());
}

pub async fn the_owner_replaces_its_registration<B: Backend>() {
    let fixture = Fixture::<B>::start("replaces").await;
    for owner in ["", "secret"] {
        let first = agent("weather")
            .with_metadata("zone", "a")
            .with_owner(owner);
        let second = first
            .clone()
            .with_version("2.0.0")
            .with_metadata("zone", "b");
        fixture.register(&first).await;
        fixture.register(&second).await;
        let found = fixture.lookup("weather").await;
        assert_eq!(found.len(), 1);
        assert!(found[0].is_same_offer(&second), "{:?}", found[0]);
        fixture.unregister(&second).await;
    }
    // An owner with the key can also replace a registration that has a different instance id.
    let first = agent("weather").with_owner("secret");
    let second = Registration::new("weather", first.endpoint.clone()).with_owner("secret");
    fixture.register(&first).await;
    fixture.register(&second).await;
    assert!(fixture.lookup("weather").await[0].is_same_offer(&second));
}

pub async fn a_registration_without_an_owner_is_replaced_by_anyone<B: Backend>() {
    let fixture = Fixture::<B>::start("unowned").await;
    let first = agent("weather").with_instance("");
    let second = Registration::new("weather", first.endpoint.clone());
    fixture.register(&first).await;
    fixture.register(&second).await;
    assert!(fixture.lookup("weather").await[0].is_same_offer(&second));
}

pub async fn a_stranger_changes_no_registration<B: Backend>() {
    let fixture = Fixture::<B>::start("stranger").await;
    for owner in ["", "secret"] {
        let weather = agent("weather").with_owner(owner);
        fixture.register(&weather).await;
        let by_endpoint = InstanceRef::new("weather").with_endpoint(weather.endpoint.clone());
        let mut strangers = vec![
            InstanceRef::new("weather"),
            by_endpoint.clone(),
            by_endpoint.clone().with_owner("guessed"),
        ];
        if !owner.is_empty() {
            // Instance ids are public, so an instance id does not prove ownership.
            strangers.push(by_endpoint.with_instance(&*weather.instance));
        }
        for stranger in strangers {
            let unregistered = within(fixture.registry.unregister(&stranger)).await;
            assert_owned(unregistered.expect_err("a stranger"), &weather);
            let renewed = within(fixture.registry.heartbeat(&stranger)).await;
            assert_owned(renewed.expect_err("a stranger"), &weather);
        }
        let other = Registration::new("weather", weather.endpoint.clone()).with_owner("guessed");
        let registered = within(fixture.registry.register(other)).await;
        assert_owned(registered.expect_err("a stranger"), &weather);
        let found = fixture.lookup("weather").await;
        assert!(found.len() == 1 && found[0].is_same_offer(&weather));
        let which = InstanceRef::from(&weather);
        within(fixture.registry.heartbeat(&which))
            .await
            .expect("the owner");
        fixture.unregister(&weather).await;
        assert!(fixture.lookup("weather").await.is_empty());
    }
}

pub async fn an_owner_without_heartbeats_is_replaced_before_its_lease_expires<B: Backend>() {
    let config = RegistryConfig::new().lease(SHORT_LEASE);
    let fixture = Fixture::<B>::with("overdue", config).await;
    let crashed = agent("weather").with_owner("lost");
    let successor = Registration::new("weather", crashed.endpoint.clone()).with_owner("new");
    fixture.register(&crashed).await;
    let start = Instant::now();
    loop {
        match within(fixture.registry.register(successor.clone())).await {
            Ok(_) => break,
            Err(RegistryError::Owned { retry_after, .. }) => {
                assert!(retry_after <= SHORT_LEASE / 2, "{retry_after:?}");
                sleep(retry_after).await;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(start.elapsed() + TOLERANCE >= SHORT_LEASE / 2);
    assert!(fixture.lookup("weather").await[0].is_same_offer(&successor));
}

#[track_caller]
fn assert_owned(error: RegistryError, registration: &Registration) {
    match error {
        RegistryError::Owned {
            name,
            endpoint,
            retry_after,
        } => {
            assert_eq!(
                (&name, &endpoint),
                (&registration.name, &registration.endpoint)
            );
            assert!(retry_after <= LONG_LEASE / 2, "{retry_after:?}");
        }
        other => panic!("{other:?}"),
    }
}

pub async fn several_endpoints_of_one_name_are_its_instances<B: Backend>() {
    let fixture = Fixture::<B>::start("instances").await;
    let all = [agent("weather"), agent("weather"), agent("weather")];
    for instance in &all {
        fixture.register(instance).await;
    }
    assert_eq!(fixture.lookup("weather").await.len(), 3);
    fixture.unregister(&all[1]).await;
    let left = fixture.lookup("weather").await;
    assert_eq!(left.len(), 2);
    assert!(left[0].is_same_offer(&all[0]) && left[1].is_same_offer(&all[2]));
}

pub async fn endpoints_are_distinguished_by_their_text<B: Backend>() {
    let fixture = Fixture::<B>::start("spelling").await;
    let (_, mut watch) = fixture.watch(WatchScope::All).await;
    let all = ["unix:///run//a", "unix:///run/./a", "unix:///run/a"].map(|text| {
        let endpoint = text.parse().expect("endpoint");
        Registration::new("weather", endpoint)
    });
    for one in &all {
        fixture.register(one).await;
        match next(&mut watch).await {
            Event::Joined(joined) => assert!(joined.is_same_offer(one)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fixture.lookup("weather").await.len(), 3);
    fixture.unregister(&all[2]).await;
    for (one, is_there) in all.iter().zip([true, true, false]) {
        let heard = within(fixture.registry.heartbeat(&InstanceRef::from(one))).await;
        assert_eq!(heard.is_ok(), is_there, "{one:?}");
    }
}

pub async fn an_invalid_name_is_refused_by_every_operation<B: Backend>() {
    let fixture = Fixture::<B>::start("no_name").await;
    let registry = &fixture.registry;
    let long = "x".repeat(256);
    for name in ["", " weather", "weather\n", "a\0b", &*long] {
        let which = InstanceRef::new(name);
        let results = [
            within(registry.register(agent(name))).await.map(drop),
            within(registry.heartbeat(&which)).await,
            within(registry.unregister(&which)).await,
            within(registry.lookup(name)).await.map(drop),
        ];
        for result in results {
            let error = result.expect_err("an invalid name");
            assert!(
                matches!(error, RegistryError::InvalidName { .. }),
                "{error:?}"
            );
        }
    }
    let error = within(registry.register(agent(""))).await;
    assert!(matches!(
        error.expect_err("empty"),
        RegistryError::InvalidName {
            problem: NameProblem::Empty,
            ..
        }
    ));
    assert!(fixture.list().await.is_empty());
}

pub async fn port_zero_is_refused<B: Backend>() {
    let fixture = Fixture::<B>::start("port_zero").await;
    let error = within(
        fixture
            .registry
            .register(Registration::new("weather", endpoint(0))),
    )
    .await;
    match error.expect_err("port 0") {
        RegistryError::InvalidRegistration { name, problem } => {
            assert_eq!(name, "weather");
            assert_eq!(
                problem.to_string(),
                RegistrationProblem::PortZero.to_string()
            );
        }
        other => panic!("{other:?}"),
    }
}

pub async fn unregistering_removes_an_agent_and_is_idempotent<B: Backend>() {
    let fixture = Fixture::<B>::start("unregister").await;
    let (weather, echo) = (agent("weather"), agent("echo"));
    fixture.register(&weather).await;
    fixture.register(&echo).await;
    for _ in 0..2 {
        fixture.unregister(&weather).await;
        assert!(fixture.lookup("weather").await.is_empty());
    }
    assert_eq!(fixture.list().await.len(), 1);
    let unknown = InstanceRef::new("nobody");
    within(fixture.registry.unregister(&unknown))
        .await
        .expect("an unknown one is no error");
}

pub async fn unregistering_without_an_endpoint_needs_a_single_instance<B: Backend>() {
    let fixture = Fixture::<B>::start("unregister_only").await;
    let unowned = || agent("weather").with_instance("");
    let (first, second) = (unowned(), unowned());
    fixture.register(&first).await;
    fixture.register(&second).await;
    let by_name = InstanceRef::new("weather");
    let error = within(fixture.registry.unregister(&by_name)).await;
    match error.expect_err("there are two") {
        RegistryError::Ambiguous { name, instances } => {
            assert_eq!((&*name, instances), ("weather", 2));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(fixture.lookup("weather").await.len(), 2);

    let by_endpoint = by_name.clone().with_endpoint(first.endpoint.clone());
    within(fixture.registry.unregister(&by_endpoint))
        .await
        .expect("by endpoint");
    assert!(fixture.lookup("weather").await[0].is_same_offer(&second));
    within(fixture.registry.unregister(&by_name))
        .await
        .expect("the only one");
    assert!(fixture.lookup("weather").await.is_empty());
}

pub async fn the_registry_sets_the_times<B: Backend>() {
    let fixture = Fixture::<B>::start("clock").await;
    let long_ago: Timestamp = "2001-02-03T04:05:06+00:00".parse().expect("time");
    let before = Timestamp::now().to_system_time();
    fixture
        .register(&agent("weather").with_registered_at(long_ago))
        .await;
    let found = fixture.lookup("weather").await;
    assert!(found[0].registered_at.to_system_time() >= before);
    assert!(found[0].last_heartbeat().to_system_time() >= before);
}

pub async fn a_predecessor_does_not_unregister_its_successor<B: Backend>() {
    let fixture = Fixture::<B>::start("successor").await;
    let first = agent("weather").with_owner("secret");
    let second = Registration::new("weather", first.endpoint.clone()).with_owner("secret");
    fixture.register(&first).await;
    fixture.register(&second).await;
    fixture.unregister(&first).await;
    let found = fixture.lookup("weather").await;
    assert_eq!(found.len(), 1, "the successor remains");
    assert!(found[0].is_same_offer(&second));
    fixture.unregister(&second).await;
    assert!(fixture.lookup("weather").await.is_empty());
}

pub async fn concurrent_registrations_all_succeed<B: Backend>() {
    const EACH: u16 = 25;
    let fixture = Fixture::<B>::start("many").await;
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..4 {
        let registry = within(fixture.backend.registry()).await;
        tasks.spawn(async move {
            for number in 0..EACH {
                let name = format!("agent {}", number % 5);
                let one = Registration::new(&name, endpoint(1 + task * EACH + number));
                registry.register(one.clone()).await.expect("register");
                let which = InstanceRef::from(&one);
                registry.heartbeat(&which).await.expect("heartbeat");
                let found = registry.lookup(&name).await.expect("lookup");
                assert!(found.iter().any(|found| found.is_same_offer(&one)));
            }
        });
    }
    within(async {
        while let Some(done) = tasks.join_next().await {
            done.expect("task");
        }
    })
    .await;
    let listed = fixture.list().await;
    assert_eq!(listed.len(), 4 * usize::from(EACH));
    let mut ports = ports(&listed);
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), listed.len(), "no registration is listed twice");

    assert_eq!(fixture.lookup("agent 0").await.len(), 20);
}

/// The tolerance for measured times. A registry may measure time in whole milliseconds.
const TOLERANCE: Duration = Duration::from_millis(2);
