//! Tests of leases and heartbeats.

use std::time::Duration;

use tokio::time::{Instant, interval};

use super::backend::{Backend, Fixture, LONG_LEASE, SHORT_LEASE, agent, within};
use crate::{InstanceRef, Lease, Query, Registration, Registry, RegistryConfig, RegistryError};

pub async fn an_expired_registration_is_never_returned<B: Backend>() {
    let config = RegistryConfig::new().lease(SHORT_LEASE);
    let fixture = Fixture::<B>::with("lease", config).await;
    let weather = agent("weather");
    // A sweep may run at any time relative to the expiry. Several rounds are therefore more likely
    // to detect a late expiry.
    for _ in 0..3 {
        let start = Instant::now();
        fixture.register(&weather).await;
        let registered = Instant::now();
        let mut found = true;
        while found {
            let asked = registered.elapsed();
            let looked_up = fixture.lookup("weather").await;
            let listed = fixture.list().await;
            let queried = within(fixture.registry.find(Query::new())).await;
            let given = [looked_up, listed, queried.expect("find")];
            found = given.iter().any(|given| !given.is_empty());
            assert!(
                !found || asked <= SHORT_LEASE + TOLERANCE,
                "{asked:?}: {given:?}"
            );
        }
        let held = start.elapsed();
        assert!(held + TOLERANCE >= SHORT_LEASE, "{held:?}");
    }

    let which = InstanceRef::from(&weather);
    let error = within(fixture.registry.heartbeat(&which)).await;
    assert!(error.expect_err("the lease expired").is_not_registered());
    fixture.register(&weather).await;
    assert_eq!(fixture.lookup("weather").await.len(), 1);
}

pub async fn heartbeats_keep_a_registration_alive<B: Backend>() {
    // The lease is much longer than a pause on a busy machine, but short enough to wait for two
    // leases.
    let lease = Duration::from_secs(1);
    let config = RegistryConfig::new().lease(lease);
    let fixture = Fixture::<B>::with("heartbeats", config).await;
    let (weather, silent) = (agent("weather"), agent("silent"));
    fixture.register(&weather).await;
    fixture.register(&silent).await;
    let which = InstanceRef::from(&weather);
    let start = Instant::now();
    let mut beat = interval(lease / 20);
    while start.elapsed() < lease * 2 {
        beat.tick().await;
        within(fixture.registry.heartbeat(&which))
            .await
            .expect("heartbeat");
        assert_eq!(fixture.lookup("weather").await.len(), 1);
    }
    assert!(fixture.lookup("silent").await.is_empty());
    fixture.wait_until_gone("weather").await;
}

pub async fn a_heartbeat_of_an_unknown_agent_fails_until_it_registers<B: Backend>() {
    let fixture = Fixture::<B>::start("heartbeat_unknown").await;
    let weather = agent("weather");
    let which = InstanceRef::from(&weather);
    let error = within(fixture.registry.heartbeat(&which)).await;
    match error.expect_err("not registered") {
        RegistryError::NotRegistered { name, endpoint } => {
            assert_eq!(
                (name, endpoint),
                (weather.name.clone(), which.endpoint.clone())
            );
        }
        other => panic!("{other:?}"),
    }
    fixture.register(&weather).await;
    within(fixture.registry.heartbeat(&which))
        .await
        .expect("heartbeat");
    // A different endpoint identifies a different registration.
    let elsewhere = InstanceRef::from(&agent("weather"));
    let error = within(fixture.registry.heartbeat(&elsewhere)).await;
    assert!(error.expect_err("not there").is_not_registered());
}

pub async fn a_heartbeat_without_an_endpoint_needs_a_single_instance<B: Backend>() {
    let fixture = Fixture::<B>::start("heartbeat_only").await;
    let by_name = InstanceRef::new("weather");
    let error = within(fixture.registry.heartbeat(&by_name)).await;
    assert!(error.expect_err("not registered").is_not_registered());
    fixture.register(&agent("weather").with_instance("")).await;
    within(fixture.registry.heartbeat(&by_name))
        .await
        .expect("the only one");
    let second = agent("weather").with_instance("");
    fixture.register(&second).await;
    let error = within(fixture.registry.heartbeat(&by_name)).await;
    assert!(matches!(
        error.expect_err("there are two"),
        RegistryError::Ambiguous { instances: 2, .. }
    ));
    let by_endpoint = by_name.with_endpoint(second.endpoint);
    within(fixture.registry.heartbeat(&by_endpoint))
        .await
        .expect("by endpoint");
}

pub async fn a_heartbeat_of_a_predecessor_reports_its_replacement<B: Backend>() {
    let fixture = Fixture::<B>::start("replaced").await;
    let first = agent("weather").with_owner("secret");
    let second = Registration::new("weather", first.endpoint.clone()).with_owner("secret");
    fixture.register(&first).await;
    fixture.register(&second).await;
    let error = within(fixture.registry.heartbeat(&InstanceRef::from(&first))).await;
    match error.expect_err("it was replaced") {
        RegistryError::Replaced { name, endpoint } => {
            assert_eq!(
                (name, endpoint),
                (first.name.clone(), first.endpoint.clone())
            );
        }
        other => panic!("{other:?}"),
    }
    let which = InstanceRef::from(&second);
    within(fixture.registry.heartbeat(&which))
        .await
        .expect("the successor");
}

pub async fn an_instance_id_without_an_endpoint_matches_no_other_instance<B: Backend>() {
    let fixture = Fixture::<B>::start("instance_only").await;
    let heartbeat = async |registration: &Registration| {
        let which = InstanceRef::new("weather").with_instance(&*registration.instance);
        within(fixture.registry.heartbeat(&which)).await
    };
    let gone = agent("weather");
    fixture.register(&gone).await;
    heartbeat(&gone).await.expect("the only one");
    fixture.unregister(&gone).await;
    let others = [agent("weather"), agent("weather")];
    for other in &others {
        fixture.register(other).await;
        let error = heartbeat(&gone).await.expect_err("it is gone");
        assert!(error.is_not_registered(), "{error:?}");
        heartbeat(other).await.expect("it is there");
    }
    // An unregistration must not affect other instances.
    let which = InstanceRef::new("weather").with_instance(&*gone.instance);
    within(fixture.registry.unregister(&which))
        .await
        .expect("not an error");
    assert_eq!(fixture.lookup("weather").await.len(), 2);
    let twin = agent("weather").with_instance(&*others[0].instance);
    fixture.register(&twin).await;
    let error = heartbeat(&twin).await.expect_err("the id is ambiguous");
    assert!(
        matches!(error, RegistryError::Ambiguous { instances: 2, .. }),
        "{error:?}"
    );
}

pub async fn a_heartbeat_updates_the_last_heartbeat<B: Backend>() {
    let fixture = Fixture::<B>::start("last_heartbeat").await;
    let weather = agent("weather");
    fixture.register(&weather).await;
    let first = &fixture.lookup("weather").await[0];
    let (registered, before) = (first.registered_at, first.last_heartbeat());
    let which = InstanceRef::from(&weather);
    within(async {
        // A single heartbeat may not change the time, because the clock may be coarse.
        let mut poll = interval(Duration::from_millis(1));
        loop {
            poll.tick().await;
            fixture.registry.heartbeat(&which).await.expect("heartbeat");
            let found = fixture.registry.lookup("weather").await.expect("lookup");
            assert_eq!(found[0].registered_at, registered);
            if found[0].last_heartbeat().to_system_time() > before.to_system_time() {
                break;
            }
        }
    })
    .await;
}

pub async fn registering_returns_the_lease<B: Backend>() {
    let fixture = Fixture::<B>::start("told").await;
    let lease = within(fixture.registry.register(agent("weather"))).await;
    assert_eq!(lease.expect("register"), Lease::new(LONG_LEASE));
}

/// The tolerance for measured times. A registry may have its own clock and may measure time in
/// whole milliseconds.
const TOLERANCE: Duration = Duration::from_millis(2);
