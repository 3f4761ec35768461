//! Tests of limits and of the policy for duplicates.

use agentwire_codec::Value;

use super::backend::{Backend, Fixture, LONG_LEASE, SHORT_LEASE, agent, within};
use crate::{DuplicatePolicy, LimitKind, Registry, RegistryConfig, RegistryError};

pub async fn a_second_endpoint_is_refused_if_duplicates_are<B: Backend>() {
    let config = RegistryConfig::new()
        .lease(LONG_LEASE)
        .duplicates(DuplicatePolicy::Refuse);
    let fixture = Fixture::<B>::with("duplicates", config).await;
    let first = agent("weather");
    fixture.register(&first).await;
    let error = within(fixture.registry.register(agent("weather"))).await;
    match error.expect_err("the name is taken") {
        RegistryError::Duplicate { name, endpoint } => {
            assert_eq!(
                (name, endpoint),
                (first.name.clone(), first.endpoint.clone())
            );
        }
        other => panic!("{other:?}"),
    }
    // The owner can still update its registration, and other names are not affected.
    fixture
        .register(&first.clone().with_metadata("zone", "b"))
        .await;
    fixture.register(&agent("echo")).await;
    assert_eq!(fixture.list().await.len(), 2);
    fixture.unregister(&first).await;
    fixture.register(&agent("weather")).await;
}

pub async fn a_name_is_free_once_its_owner_has_expired<B: Backend>() {
    let config = RegistryConfig::new()
        .lease(SHORT_LEASE)
        .duplicates(DuplicatePolicy::Refuse);
    let fixture = Fixture::<B>::with("free_again", config).await;
    fixture.register(&agent("weather")).await;
    fixture.wait_until_gone("weather").await;
    let second = agent("weather");
    fixture.register(&second).await;
    assert!(fixture.lookup("weather").await[0].is_same_offer(&second));
}

pub async fn the_limit_of_instances_is_enforced<B: Backend>() {
    let config = RegistryConfig::new().lease(LONG_LEASE).max_instances(2);
    let fixture = Fixture::<B>::with("max_instances", config).await;
    let first = agent("weather");
    fixture.register(&first).await;
    fixture.register(&agent("weather")).await;
    let error = within(fixture.registry.register(agent("weather"))).await;
    assert!(matches!(
        error.expect_err("there are two"),
        RegistryError::TooManyInstances { max: 2, .. }
    ));
    fixture.register(&agent("echo")).await;
    fixture.register(&first).await;
    fixture.unregister(&first).await;
    fixture.register(&agent("weather")).await;
}

pub async fn the_limit_of_registrations_is_enforced<B: Backend>() {
    let config = RegistryConfig::new().lease(LONG_LEASE).max_registrations(2);
    let fixture = Fixture::<B>::with("max_registrations", config).await;
    let first = agent("a");
    fixture.register(&first).await;
    fixture.register(&agent("b")).await;
    let error = within(fixture.registry.register(agent("c"))).await;
    assert!(matches!(
        error.expect_err("it is full"),
        RegistryError::Full {
            max: 2,
            of: LimitKind::Registrations
        }
    ));
    fixture.register(&first).await;
    fixture.unregister(&first).await;
    fixture.register(&agent("c")).await;
}

pub async fn registrations_that_are_too_large_or_too_deep_are_refused<B: Backend>() {
    let config = RegistryConfig::new().lease(LONG_LEASE).max_size(1000);
    let fixture = Fixture::<B>::with("too_large", config).await;
    let deep = (0..70).fold(Value::Null, |inner, _| vec![inner].into());
    for registration in [
        agent("weather").with_metadata("text", "x".repeat(1000)),
        agent("weather").with_metadata("deep", deep),
        agent("weather").with_instance("x".repeat(256)),
    ] {
        let error = within(fixture.registry.register(registration)).await;
        match error.expect_err("over a limit") {
            RegistryError::InvalidRegistration { name, .. } => assert_eq!(name, "weather"),
            other => panic!("{other:?}"),
        }
    }
    assert!(fixture.list().await.is_empty());
    fixture
        .register(&agent("weather").with_metadata("text", "x".repeat(900)))
        .await;
}
