//! Tests of lookups, lists and queries.

use agentwire_codec::map;

use super::backend::{Backend, Fixture, endpoint, ports, within};
use crate::{Query, Registration, Registry, WatchScope};

/// Returns registrations in listing order.
fn sorted() -> Vec<Registration> {
    let make = |name: &str, version: &str, port| {
        let mut made = Registration::new(name, endpoint(port));
        made.version = version.parse().ok();
        made
    };
    vec![
        make("echo", "", 5).with_capabilities(map! {"streaming": true}),
        make("weather", "10.0.0", 2)
            .with_capabilities(map! {"languages": ["en", "ja"], "tools": ["forecast"]})
            .with_metadata("zone", "a"),
        make("weather", "9.1.0", 3)
            .with_capabilities(map! {"languages": ["en"], "tools": [{"name": "forecast"}]})
            .with_metadata("zone", "b"),
        make("weather", "9.1.0", 4).with_metadata("zone", "b"),
        make("weather", "9.1.0-rc.1", 1),
        make("weather", "", 9).with_capabilities(map! {"streaming": false}),
        make("weather", "", 10),
    ]
}

async fn filled<B: Backend>(test: &str) -> Fixture<B> {
    let fixture = Fixture::<B>::start(test).await;
    let mut all = sorted();
    // Register the agents in a different order.
    all.rotate_left(3);
    all.swap(0, 5);
    for registration in &all {
        fixture.register(registration).await;
    }
    fixture
}

pub async fn lists_are_ordered<B: Backend>() {
    let fixture = filled::<B>("ordered").await;
    for _ in 0..2 {
        assert_eq!(ports(&fixture.list().await), [5, 2, 3, 4, 1, 9, 10]);
        assert_eq!(ports(&fixture.lookup("weather").await), [2, 3, 4, 1, 9, 10]);
        let (snapshot, _watch) = fixture.watch(WatchScope::All).await;
        assert_eq!(ports(&snapshot), [5, 2, 3, 4, 1, 9, 10]);
    }
}

pub async fn a_list_can_be_read_page_by_page<B: Backend>() {
    let fixture = filled::<B>("parts").await;
    for (after, expected) in [
        (None, &[5, 2, 3, 4, 1, 9, 10][..]),
        (Some("dog"), &[5, 2, 3, 4, 1, 9, 10]),
        (Some("ech"), &[5, 2, 3, 4, 1, 9, 10]),
        (Some("echo"), &[2, 3, 4, 1, 9, 10]),
        (Some("fox"), &[2, 3, 4, 1, 9, 10]),
        (Some("weather"), &[]),
        (Some("weathers"), &[]),
    ] {
        for count in [1, 2, 1000] {
            let page = fixture.registry.list_after(after, count);
            let page = ports(&within(page).await.expect("a page"));
            // A page always contains all instances of a name, so it may be longer than `count`.
            let enough = page.len() == expected.len() || page.len() >= count;
            assert!(enough && expected.starts_with(&page), "{after:?}: {page:?}");
            let names_are_whole = page.len() <= 1 || page.len() == expected.len();
            assert!(names_are_whole, "{after:?}: {page:?}");
        }
    }
}

pub async fn a_query_returns_its_matches<B: Backend>() {
    let fixture = filled::<B>("query").await;
    for (query, expected) in [
        (Query::new(), &[5, 2, 3, 4, 1, 9, 10][..]),
        (Query::new().name("echo"), &[5]),
        (Query::new().name("nobody"), &[]),
        (Query::new().capability("streaming"), &[5]),
        (Query::new().capability("languages.en"), &[2, 3]),
        (Query::new().capability("languages.ja"), &[2]),
        (Query::new().tool("forecast"), &[2, 3]),
        (Query::new().version("^9"), &[3, 4]),
        (Query::new().version(">=9.1.0-rc.1, <10"), &[3, 4, 1]),
        (Query::new().metadata("zone", "b"), &[3, 4]),
        (
            Query::new()
                .tool("forecast")
                .metadata("zone", "b")
                .name("weather"),
            &[3],
        ),
        (Query::new().capability("telepathy"), &[]),
    ] {
        let found = within(fixture.registry.find(&query)).await.expect("find");
        assert_eq!(ports(&found), expected, "{query:?}");
    }
}
