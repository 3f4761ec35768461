//! Tests of watches.

use super::{
    backend::{Backend, Fixture, LONG_LEASE, SHORT_LEASE, agent, endpoint, next, within},
    watch_view::WatchView,
};
use crate::{
    Event, InstanceRef, Registration, Registry, RegistryConfig, RegistryError, WatchScope,
};

pub async fn a_watch_begins_with_a_snapshot<B: Backend>() {
    let fixture = Fixture::<B>::start("watch_begins").await;
    let (snapshot, _watch) = fixture.watch(WatchScope::All).await;
    assert!(snapshot.is_empty());
    let (echo, weather) = (agent("echo"), agent("weather"));
    fixture.register(&weather).await;
    fixture.register(&echo).await;
    let (snapshot, _watch) = fixture.watch(WatchScope::All).await;
    assert_eq!(snapshot.len(), 2);
    assert!(snapshot[0].is_same_offer(&echo) && snapshot[1].is_same_offer(&weather));
    let (snapshot, _watch) = fixture.watch(WatchScope::name("echo")).await;
    assert!(snapshot.len() == 1 && snapshot[0].is_same_offer(&echo));
}

pub async fn a_watch_reports_changes_in_order<B: Backend>() {
    let fixture = Fixture::<B>::start("watch_order").await;
    let (_, mut watch) = fixture.watch(WatchScope::All).await;
    let weather = agent("weather").with_owner("secret");
    let updates = [
        weather.clone().with_metadata("zone", "b"),
        weather.clone().with_version("1.0.0"),
        weather.clone().with_instance("another"),
    ];
    fixture.register(&weather).await;
    for update in &updates {
        fixture.register(update).await;
    }
    fixture.unregister(&updates[2]).await;
    fixture.register(&weather).await;

    match next(&mut watch).await {
        Event::Joined(joined) => assert!(joined.is_same_offer(&weather)),
        other => panic!("{other:?}"),
    }
    for update in &updates {
        match next(&mut watch).await {
            Event::Updated(updated) => assert!(updated.is_same_offer(update), "{updated:?}"),
            other => panic!("{other:?}"),
        }
    }
    match next(&mut watch).await {
        Event::Left(left) => assert!(left.is_same_offer(&updates[2])),
        other => panic!("{other:?}"),
    }
    assert!(matches!(next(&mut watch).await, Event::Joined(_)));
}

pub async fn a_watch_of_one_name_reports_no_other<B: Backend>() {
    let fixture = Fixture::<B>::start("watch_name").await;
    fixture.register(&agent("other")).await;
    let (snapshot, mut watch) = fixture.watch(WatchScope::name("weather")).await;
    assert!(snapshot.is_empty());
    let weather = agent("weather");
    fixture.register(&agent("other")).await;
    fixture.register(&weather).await;
    fixture.register(&agent("weather report")).await;
    fixture.unregister(&weather).await;
    match next(&mut watch).await {
        Event::Joined(joined) => assert!(joined.is_same_offer(&weather)),
        other => panic!("{other:?}"),
    }
    match next(&mut watch).await {
        Event::Left(left) => assert!(left.is_same_offer(&weather)),
        other => panic!("{other:?}"),
    }
}

pub async fn a_watch_of_an_invalid_name_fails<B: Backend>() {
    let fixture = Fixture::<B>::start("watch_no_name").await;
    let mut watch = fixture.registry.watch(WatchScope::name(""));
    let error = within(watch.next()).await.expect("an error");
    assert!(matches!(
        error.expect_err("an invalid name"),
        RegistryError::InvalidName { .. }
    ));
    assert!(within(watch.next()).await.is_none());
}

pub async fn a_watch_reports_expiries<B: Backend>() {
    let config = RegistryConfig::new().lease(SHORT_LEASE);
    let fixture = Fixture::<B>::with("watch_expires", config).await;
    let (_, mut watch) = fixture.watch(WatchScope::All).await;
    let weather = agent("weather");
    fixture.register(&weather).await;
    assert!(matches!(next(&mut watch).await, Event::Joined(_)));
    match next(&mut watch).await {
        Event::Expired(expired) => assert!(expired.is_same_offer(&weather)),
        other => panic!("{other:?}"),
    }
    // An expiry must never be reported before the registration has expired.
    assert!(fixture.lookup("weather").await.is_empty());
    fixture.register(&weather).await;
    assert!(matches!(next(&mut watch).await, Event::Joined(_)));
}

pub async fn heartbeats_and_repeated_registrations_are_not_events<B: Backend>() {
    let fixture = Fixture::<B>::start("watch_quiet").await;
    let weather = agent("weather");
    fixture.register(&weather).await;
    let (_, mut watch) = fixture.watch(WatchScope::All).await;
    let which = InstanceRef::from(&weather);
    within(fixture.registry.heartbeat(&which))
        .await
        .expect("heartbeat");
    fixture.register(&weather).await;
    fixture.unregister(&agent("nobody")).await;
    // Events are ordered, so the next event proves that there were no earlier events.
    fixture.unregister(&weather).await;
    assert!(matches!(next(&mut watch).await, Event::Left(_)));
}

pub async fn watches_are_independent<B: Backend>() {
    let fixture = Fixture::<B>::start("watches").await;
    let (_, mut first) = fixture.watch(WatchScope::All).await;
    let (_, dropped) = fixture.watch(WatchScope::All).await;
    let (_, idle) = fixture.watch(WatchScope::All).await;
    drop(dropped);
    let other = within(fixture.backend.registry()).await;
    let mut second = other.watch(WatchScope::name("weather"));
    assert!(matches!(next(&mut second).await, Event::Snapshot { .. }));
    fixture.register(&agent("weather")).await;
    assert!(matches!(next(&mut first).await, Event::Joined(_)));
    assert!(matches!(next(&mut second).await, Event::Joined(_)));
    drop(idle);
}

pub async fn a_slow_watch_catches_up_through_a_resync<B: Backend>() {
    let config = RegistryConfig::new().lease(LONG_LEASE).watch_buffer(4);
    let fixture = Fixture::<B>::with("watch_slow", config).await;
    let (_, mut watch) = fixture.watch(WatchScope::All).await;
    let all: Vec<_> = (1..=MANY)
        .map(|port| {
            let one = Registration::new("weather", endpoint(port));
            one.with_metadata("text", "x".repeat(LARGE))
        })
        .collect();
    for registration in &all {
        fixture.register(registration).await;
    }
    for registration in all.iter().step_by(2) {
        fixture.unregister(registration).await;
    }
    let last = agent("the last one");
    fixture.register(&last).await;

    let mut view = WatchView::default();
    let listed = fixture.list().await;
    within(async {
        // A resync replaces lost events. If events were lost without a resync, the view would be
        // inconsistent.
        while !view.equals(&listed) {
            let event = watch.next().await.expect("the watch has ended");
            view.apply(event.expect("the watch has failed"));
        }
    })
    .await;
    assert!(view.resyncs > 0, "no event was lost, so nothing was tested");
    // The watch must continue to report events after the resync.
    fixture.unregister(&last).await;
    match next(&mut watch).await {
        Event::Left(left) => assert!(left.is_same_offer(&last)),
        other => panic!("{other:?}"),
    }
}

/// The number of events, which is much larger than the capacity of all buffers.
const MANY: u16 = 300;
const LARGE: usize = 30_000;
