use std::time::Duration;

use tokio::time::{Instant, interval};

use super::backend::{Backend, LONG_LEASE, SHORT_LEASE, Site, agent, within};
use crate::{InstanceRef, Lease, Query, Registration, Registry, RegistryConfig, RegistryError};

/// A registry may count in whole milliseconds, and by a clock of its own.
const GRACE: Duration = Duration::from_millis(2);

pub async fn nothing_is_given_out_once_its_lease_is_over<B: Backend>() {
    let config = RegistryConfig::new().lease(SHORT_LEASE);
    let site = Site::<B>::with("lease", config).await;
    let weather = agent("weather");
    // Whoever removes what is over comes sooner or later; each round gives it another moment to be late.
    for _ in 0..3 {
        let start = Instant::now();
        site.register(&weather).await;
        let registered = Instant::now();
        let mut found = true;
        while found {
            let asked = registered.elapsed();
            let looked_up = site.lookup("weather").await;
            let listed = site.list().await;
            let queried = within(site.registry.find(Query::new())).await;
            let given = [looked_up, listed, queried.expect("find")];
            found = given.iter().any(|given| !given.is_empty());
            assert!(
                !found || asked <= SHORT_LEASE + GRACE,
                "{asked:?}: {given:?}"
            );
        }
        let held = start.elapsed();
        assert!(held + GRACE >= SHORT_LEASE, "{held:?}");
    }

    let which = InstanceRef::from(&weather);
    let error = within(site.registry.heartbeat(&which)).await;
    assert!(error.expect_err("it is over").is_not_registered());
    site.register(&weather).await;
    assert_eq!(site.lookup("weather").await.len(), 1);
}

pub async fn heartbeats_keep_a_registration_alive<B: Backend>() {
    // Long against the pauses of a busy machine, and seen to end several times over.
    let lease = Duration::from_secs(1);
    let config = RegistryConfig::new().lease(lease);
    let site = Site::<B>::with("heartbeats", config).await;
    let (weather, silent) = (agent("weather"), agent("silent"));
    site.register(&weather).await;
    site.register(&silent).await;
    let which = InstanceRef::from(&weather);
    let start = Instant::now();
    let mut beat = interval(lease / 20);
    while start.elapsed() < lease * 2 {
        beat.tick().await;
        within(site.registry.heartbeat(&which))
            .await
            .expect("heartbeat");
        assert_eq!(site.lookup("weather").await.len(), 1);
    }
    assert!(site.lookup("silent").await.is_empty());
    site.gone("weather").await;
}

pub async fn a_heartbeat_of_the_unknown_is_an_error_and_registering_mends_it<B: Backend>() {
    let site = Site::<B>::start("heartbeat_unknown").await;
    let weather = agent("weather");
    let which = InstanceRef::from(&weather);
    let error = within(site.registry.heartbeat(&which)).await;
    match error.expect_err("nobody is there") {
        RegistryError::NotRegistered { name, endpoint } => {
            assert_eq!(
                (name, endpoint),
                (weather.name.clone(), which.endpoint.clone())
            );
        }
        other => panic!("{other:?}"),
    }
    site.register(&weather).await;
    within(site.registry.heartbeat(&which))
        .await
        .expect("heartbeat");
    // Another endpoint is another registration.
    let elsewhere = InstanceRef::from(&agent("weather"));
    let error = within(site.registry.heartbeat(&elsewhere)).await;
    assert!(error.expect_err("not there").is_not_registered());
}

pub async fn a_heartbeat_without_an_endpoint_needs_a_single_instance<B: Backend>() {
    let site = Site::<B>::start("heartbeat_only").await;
    let by_name = InstanceRef::new("weather");
    let error = within(site.registry.heartbeat(&by_name)).await;
    assert!(error.expect_err("nobody is there").is_not_registered());
    site.register(&agent("weather")).await;
    within(site.registry.heartbeat(&by_name))
        .await
        .expect("the only one");
    let second = agent("weather");
    site.register(&second).await;
    let error = within(site.registry.heartbeat(&by_name)).await;
    assert!(matches!(
        error.expect_err("there are two"),
        RegistryError::Ambiguous { instances: 2, .. }
    ));
    let by_endpoint = by_name.with_endpoint(second.endpoint);
    within(site.registry.heartbeat(&by_endpoint))
        .await
        .expect("by endpoint");
}

pub async fn a_predecessor_is_told_that_it_was_replaced<B: Backend>() {
    let site = Site::<B>::start("replaced").await;
    let first = agent("weather");
    let second = Registration::new("weather", first.endpoint.clone());
    site.register(&first).await;
    site.register(&second).await;
    let error = within(site.registry.heartbeat(&InstanceRef::from(&first))).await;
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
    within(site.registry.heartbeat(&which))
        .await
        .expect("the successor");
}

pub async fn an_instance_that_names_no_endpoint_is_replaced_by_nobody_elsewhere<B: Backend>() {
    let site = Site::<B>::start("instance_only").await;
    let heartbeat = async |registration: &Registration| {
        let which = InstanceRef::new("weather").with_instance(&*registration.instance);
        within(site.registry.heartbeat(&which)).await
    };
    let gone = agent("weather");
    site.register(&gone).await;
    heartbeat(&gone).await.expect("the only one");
    site.unregister(&gone).await;
    let others = [agent("weather"), agent("weather")];
    for other in &others {
        site.register(other).await;
        let error = heartbeat(&gone).await.expect_err("it is gone");
        assert!(error.is_not_registered(), "{error:?}");
        heartbeat(other).await.expect("it is there");
    }
    // Nor is it taken for another.
    let which = InstanceRef::new("weather").with_instance(&*gone.instance);
    within(site.registry.unregister(&which))
        .await
        .expect("nobody");
    assert_eq!(site.lookup("weather").await.len(), 2);
    let twin = agent("weather").with_instance(&*others[0].instance);
    site.register(&twin).await;
    let error = heartbeat(&twin)
        .await
        .expect_err("there are two of that id");
    assert!(
        matches!(error, RegistryError::Ambiguous { instances: 2, .. }),
        "{error:?}"
    );
}

pub async fn a_heartbeat_moves_the_last_heartbeat<B: Backend>() {
    let site = Site::<B>::start("last_heartbeat").await;
    let weather = agent("weather");
    site.register(&weather).await;
    let first = &site.lookup("weather").await[0];
    let (registered, before) = (first.registered_at, first.last_heartbeat());
    let which = InstanceRef::from(&weather);
    within(async {
        // The clock may be coarse.
        let mut poll = interval(Duration::from_millis(1));
        loop {
            poll.tick().await;
            site.registry.heartbeat(&which).await.expect("heartbeat");
            let found = site.registry.lookup("weather").await.expect("lookup");
            assert_eq!(found[0].registered_at, registered);
            if found[0].last_heartbeat().to_system_time() > before.to_system_time() {
                break;
            }
        }
    })
    .await;
}

pub async fn whoever_registers_is_told_the_lease<B: Backend>() {
    let site = Site::<B>::start("told").await;
    let lease = within(site.registry.register(agent("weather"))).await;
    assert_eq!(lease.expect("register"), Lease::new(LONG_LEASE));
}
