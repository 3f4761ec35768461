use super::{
    backend::{Backend, LONG_LEASE, SHORT_LEASE, Site, agent, endpoint, next, within},
    picture::Picture,
};
use crate::{
    Event, InstanceRef, Registration, Registry, RegistryConfig, RegistryError, WatchScope,
};

pub async fn a_watch_begins_with_what_is_there<B: Backend>() {
    let site = Site::<B>::start("watch_begins").await;
    let (snapshot, _watch) = site.watch(WatchScope::All).await;
    assert!(snapshot.is_empty());
    let (echo, weather) = (agent("echo"), agent("weather"));
    site.register(&weather).await;
    site.register(&echo).await;
    let (snapshot, _watch) = site.watch(WatchScope::All).await;
    assert_eq!(snapshot.len(), 2);
    assert!(snapshot[0].is_same_offer(&echo) && snapshot[1].is_same_offer(&weather));
    let (snapshot, _watch) = site.watch(WatchScope::name("echo")).await;
    assert!(snapshot.len() == 1 && snapshot[0].is_same_offer(&echo));
}

pub async fn a_watch_tells_what_happens_in_order<B: Backend>() {
    let site = Site::<B>::start("watch_order").await;
    let (_, mut watch) = site.watch(WatchScope::All).await;
    let weather = agent("weather");
    let updates = [
        weather.clone().with_metadata("zone", "b"),
        weather.clone().with_version("1.0.0"),
        weather.clone().with_instance("another"),
    ];
    site.register(&weather).await;
    for update in &updates {
        site.register(update).await;
    }
    site.unregister(&updates[2]).await;
    site.register(&weather).await;

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

pub async fn a_watch_of_one_name_tells_of_no_other<B: Backend>() {
    let site = Site::<B>::start("watch_name").await;
    site.register(&agent("other")).await;
    let (snapshot, mut watch) = site.watch(WatchScope::name("weather")).await;
    assert!(snapshot.is_empty());
    let weather = agent("weather");
    site.register(&agent("other")).await;
    site.register(&weather).await;
    site.register(&agent("weather report")).await;
    site.unregister(&weather).await;
    match next(&mut watch).await {
        Event::Joined(joined) => assert!(joined.is_same_offer(&weather)),
        other => panic!("{other:?}"),
    }
    match next(&mut watch).await {
        Event::Left(left) => assert!(left.is_same_offer(&weather)),
        other => panic!("{other:?}"),
    }
}

pub async fn a_watch_of_no_name_ends_in_an_error<B: Backend>() {
    let site = Site::<B>::start("watch_no_name").await;
    let mut watch = site.registry.watch(WatchScope::name(""));
    let error = within(watch.next()).await.expect("an error");
    assert!(matches!(
        error.expect_err("no name"),
        RegistryError::InvalidName { .. }
    ));
    assert!(within(watch.next()).await.is_none());
}

pub async fn a_watch_tells_what_expires<B: Backend>() {
    let config = RegistryConfig::new().lease(SHORT_LEASE);
    let site = Site::<B>::with("watch_expires", config).await;
    let (_, mut watch) = site.watch(WatchScope::All).await;
    let weather = agent("weather");
    site.register(&weather).await;
    assert!(matches!(next(&mut watch).await, Event::Joined(_)));
    match next(&mut watch).await {
        Event::Expired(expired) => assert!(expired.is_same_offer(&weather)),
        other => panic!("{other:?}"),
    }
    // Told only when it is true.
    assert!(site.lookup("weather").await.is_empty());
    site.register(&weather).await;
    assert!(matches!(next(&mut watch).await, Event::Joined(_)));
}

pub async fn a_heartbeat_and_the_same_registration_again_are_no_events<B: Backend>() {
    let site = Site::<B>::start("watch_quiet").await;
    let weather = agent("weather");
    site.register(&weather).await;
    let (_, mut watch) = site.watch(WatchScope::All).await;
    let which = InstanceRef::from(&weather);
    within(site.registry.heartbeat(&which))
        .await
        .expect("heartbeat");
    site.register(&weather).await;
    site.unregister(&agent("nobody")).await;
    // Events come in order, so the next one shows that there was none before.
    site.unregister(&weather).await;
    assert!(matches!(next(&mut watch).await, Event::Left(_)));
}

pub async fn watches_do_not_disturb_each_other<B: Backend>() {
    let site = Site::<B>::start("watches").await;
    let (_, mut first) = site.watch(WatchScope::All).await;
    let (_, dropped) = site.watch(WatchScope::All).await;
    let (_, idle) = site.watch(WatchScope::All).await;
    drop(dropped);
    let other = within(site.backend.registry()).await;
    let mut second = other.watch(WatchScope::name("weather"));
    assert!(matches!(next(&mut second).await, Event::Snapshot { .. }));
    site.register(&agent("weather")).await;
    assert!(matches!(next(&mut first).await, Event::Joined(_)));
    assert!(matches!(next(&mut second).await, Event::Joined(_)));
    drop(idle);
}

/// Far more, and far larger, than the buffers of the registry and of whatever is on the way hold.
const MANY: u16 = 300;
const LARGE: usize = 30_000;

pub async fn a_slow_reader_ends_up_with_the_present<B: Backend>() {
    let config = RegistryConfig::new().lease(LONG_LEASE).watch_buffer(4);
    let site = Site::<B>::with("watch_slow", config).await;
    let (_, mut watch) = site.watch(WatchScope::All).await;
    let all: Vec<_> = (1..=MANY)
        .map(|port| {
            let one = Registration::new("weather", endpoint(port));
            one.with_metadata("text", "x".repeat(LARGE))
        })
        .collect();
    for registration in &all {
        site.register(registration).await;
    }
    for registration in all.iter().step_by(2) {
        site.unregister(registration).await;
    }
    let last = agent("the last one");
    site.register(&last).await;

    let mut picture = Picture::default();
    let listed = site.list().await;
    within(async {
        // Whatever was left out, a snapshot stands in its place, or the picture would not fit together.
        while !picture.is(&listed) {
            let event = watch.next().await.expect("the watch has ended");
            picture.apply(event.expect("the watch has failed"));
        }
    })
    .await;
    assert!(
        picture.resyncs > 0,
        "nothing was left out, so nothing is tested"
    );
    // And it goes on from there.
    site.unregister(&last).await;
    match next(&mut watch).await {
        Event::Left(left) => assert!(left.is_same_offer(&last)),
        other => panic!("{other:?}"),
    }
}
