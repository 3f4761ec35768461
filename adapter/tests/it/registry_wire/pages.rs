//! Lists that take several pages.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::{ServedRegistry, fill, names, respond, scripted};
use crate::common::{Delegate, Hooks, memory, within};
use agentwire::{
    Endpoint, Value, map,
    registry::{LocalRegistry, Query, Registration, Registry, RegistryServer, RemoteRegistry},
    value,
};
use agentwire_codec::{Body, Response};
use futures_util::stream;

#[tokio::test]
async fn a_long_list_arrives_in_ordered_pages() {
    let served = ServedRegistry::start("pages").await;
    fill(&served.registry, 1000).await;
    let client = served.client();
    let listed = within(client.list()).await.unwrap();
    assert_eq!(listed.len(), 1000);
    assert!(names(&listed).is_sorted());
    let found = within(client.find(Query::new().metadata("text", "x".repeat(2000)))).await;
    assert_eq!(found.unwrap().len(), 1000);

    let mut peer = served.peer().await;
    let answer = respond(&mut peer, "request", r#"{"method": "list"}"#).await;
    let page = answer["registrations"].as_list().unwrap();
    assert!(page.len() > 100 && page.len() < 200, "{}", page.len());
    assert_eq!(answer["next"]["name"], page[page.len() - 1]["name"]);
}

/// An answer that lists `registrations`, and says whether another page follows.
fn page(registrations: Value, next: bool) -> Body {
    let mut page = map! {"registrations": registrations};
    if next {
        page.insert("next", map! {"anything": 7});
    }
    Response::Other(page).into()
}

#[tokio::test]
async fn a_page_may_end_after_an_agent_that_only_its_own_process_can_call() {
    let served = ServedRegistry::start("page-ends").await;
    fill(&served.registry, 300).await;
    // One after each of the others, so that every page ends with one.
    for number in 0..300 {
        let name = format!("agent {number:05} inside");
        let inside = Registration::new(name, Endpoint::custom("a line"));
        served.registry.register(inside).await.unwrap();
    }
    let mut peer = served.peer().await;
    let answer = respond(&mut peer, "request", r#"{"method": "list"}"#).await;
    let page = answer["registrations"].as_list().unwrap();
    assert!(page.len() < 300);
    assert_eq!(answer["next"]["name"], page[page.len() - 1]["name"]);

    let listed = within(served.client().list()).await.unwrap();
    assert_eq!(listed.len(), 300);
    assert!(names(&listed).is_sorted());
}

#[tokio::test]
async fn agents_at_unsupported_endpoints_do_not_end_a_list() {
    let odd = value!([{"name": "a", "endpoint": "h3://h:1"}]);
    let known = value!([{"name": "b", "endpoint": "tcp://h:1"}]);
    let answers = vec![page(odd.clone(), true), page(odd, true), page(known, false)];
    let client = scripted("later-version", stream::iter(answers)).await;
    assert_eq!(names(&within(client.list()).await.unwrap()), ["b"]);
}

#[tokio::test]
async fn a_registration_that_moves_between_two_pages_is_listed_once() {
    let old = value!([
        {"name": "a", "endpoint": "tcp://h:1", "version": "2.0.0"},
        {"name": "a", "endpoint": "tcp://h:2", "version": "1.0.0"},
    ]);
    let new = value!([
        {"name": "a", "endpoint": "tcp://h:1", "version": "0.1.0"},
        {"name": "b", "endpoint": "tcp://h:1"},
    ]);
    let answers = vec![page(old, true), page(new, false)];
    let client = scripted("moving", stream::iter(answers)).await;
    let listed = within(client.list()).await.unwrap();
    let versions: Vec<_> = listed.iter().map(|one| one.version.clone()).collect();
    assert_eq!(names(&listed), ["a", "a", "b"]);
    assert_eq!(versions[..2], ["1.0.0".parse().ok(), "0.1.0".parse().ok()]);
}

/// Hooks that count the registrations which the registry returns.
#[derive(Default)]
struct Counting(AtomicUsize);

impl Hooks for Counting {
    fn returned(&self, found: &[Arc<Registration>]) {
        self.0.fetch_add(found.len(), Relaxed);
    }
}

#[tokio::test]
async fn a_page_costs_what_it_contains() {
    let registry = Delegate::new(&LocalRegistry::new(), Counting::default());
    fill(&registry.inner, 3000).await;
    let server = RegistryServer::serve(registry.clone(), memory("page-costs"));
    let server = server.await.unwrap();
    let client = RemoteRegistry::new(server.endpoint()).unwrap();
    // About 130 of them fit on a page.
    assert_eq!(within(client.list()).await.unwrap().len(), 3000);
    let returned = registry.hooks.0.swap(0, Relaxed);
    assert!(returned < 3 * 3000, "{returned}");
    let none = Query::new().metadata("text", "y");
    assert!(within(client.find(&none)).await.unwrap().is_empty());
    let returned = registry.hooks.0.load(Relaxed);
    assert!(returned < 2 * 3000, "{returned}");
}
