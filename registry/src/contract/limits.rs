use agentwire_codec::Value;

use super::backend::{Backend, LONG_LEASE, SHORT_LEASE, Site, agent, within};
use crate::{DuplicatePolicy, LimitKind, Registry, RegistryConfig, RegistryError};

pub async fn a_second_endpoint_is_refused_where_duplicates_are<B: Backend>() {
    let config = RegistryConfig::new()
        .lease(LONG_LEASE)
        .duplicates(DuplicatePolicy::Refuse);
    let site = Site::<B>::with("duplicates", config).await;
    let first = agent("weather");
    site.register(&first).await;
    let error = within(site.registry.register(agent("weather"))).await;
    match error.expect_err("the name is taken") {
        RegistryError::Duplicate { name, endpoint } => {
            assert_eq!(
                (name, endpoint),
                (first.name.clone(), first.endpoint.clone())
            );
        }
        other => panic!("{other:?}"),
    }
    // The owner itself may come again, and others have other names.
    site.register(&first.clone().with_metadata("zone", "b"))
        .await;
    site.register(&agent("echo")).await;
    assert_eq!(site.list().await.len(), 2);
    site.unregister(&first).await;
    site.register(&agent("weather")).await;
}

pub async fn a_name_is_free_again_when_its_owner_is_gone<B: Backend>() {
    let config = RegistryConfig::new()
        .lease(SHORT_LEASE)
        .duplicates(DuplicatePolicy::Refuse);
    let site = Site::<B>::with("free_again", config).await;
    site.register(&agent("weather")).await;
    site.gone("weather").await;
    let second = agent("weather");
    site.register(&second).await;
    assert!(site.lookup("weather").await[0].is_same_offer(&second));
}

pub async fn there_are_no_more_instances_than_allowed<B: Backend>() {
    let config = RegistryConfig::new().lease(LONG_LEASE).max_instances(2);
    let site = Site::<B>::with("max_instances", config).await;
    let first = agent("weather");
    site.register(&first).await;
    site.register(&agent("weather")).await;
    let error = within(site.registry.register(agent("weather"))).await;
    assert!(matches!(
        error.expect_err("there are two"),
        RegistryError::TooManyInstances { max: 2, .. }
    ));
    site.register(&agent("echo")).await;
    site.register(&first).await;
    site.unregister(&first).await;
    site.register(&agent("weather")).await;
}

pub async fn there_are_no_more_registrations_than_allowed<B: Backend>() {
    let config = RegistryConfig::new().lease(LONG_LEASE).max_registrations(2);
    let site = Site::<B>::with("max_registrations", config).await;
    let first = agent("a");
    site.register(&first).await;
    site.register(&agent("b")).await;
    let error = within(site.registry.register(agent("c"))).await;
    assert!(matches!(
        error.expect_err("it is full"),
        RegistryError::Full {
            max: 2,
            of: LimitKind::Registrations
        }
    ));
    site.register(&first).await;
    site.unregister(&first).await;
    site.register(&agent("c")).await;
}

pub async fn what_is_too_large_or_too_deep_is_refused<B: Backend>() {
    let config = RegistryConfig::new().lease(LONG_LEASE).max_size(1000);
    let site = Site::<B>::with("too_large", config).await;
    let deep = (0..70).fold(Value::Null, |inner, _| vec![inner].into());
    for registration in [
        agent("weather").with_metadata("text", "x".repeat(1000)),
        agent("weather").with_metadata("deep", deep),
        agent("weather").with_instance("x".repeat(256)),
    ] {
        let error = within(site.registry.register(registration)).await;
        match error.expect_err("too much") {
            RegistryError::InvalidRegistration { name, .. } => assert_eq!(name, "weather"),
            other => panic!("{other:?}"),
        }
    }
    assert!(site.list().await.is_empty());
    site.register(&agent("weather").with_metadata("text", "x".repeat(900)))
        .await;
}
