//! Registering and unregistering.

use agentwire_codec::{Timestamp, map};

use super::backend::{Backend, Fixture, agent, endpoint, next, ports, within};
use crate::{
    Event, InstanceRef, NameProblem, Registration, RegistrationProblem, Registry, RegistryError,
    WatchScope, backend::RegistrationExt,
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

pub async fn the_same_name_and_endpoint_replace_a_registration<B: Backend>() {
    let fixture = Fixture::<B>::start("replaces").await;
    let first = agent("weather").with_metadata("zone", "a");
    let second = Registration::new("weather", first.endpoint.clone())
        .with_version("2.0.0")
        .with_metadata("zone", "b");
    fixture.register(&first).await;
    fixture.register(&second).await;
    let found = fixture.lookup("weather").await;
    assert_eq!(found.len(), 1);
    assert!(found[0].is_same_offer(&second), "{:?}", found[0]);
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
    let (first, second) = (agent("weather"), agent("weather"));
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
    let first = agent("weather");
    let second = Registration::new("weather", first.endpoint.clone());
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
