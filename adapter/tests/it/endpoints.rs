//! Servers with several endpoints, and how callers wait for a server to end.

use std::{sync::Arc, time::Duration};

use agentwire::{
    Error, LocalAgent, Message, RemoteAgent,
    registry::{LocalRegistry, Registry, RegistryServer, RemoteRegistry},
    transport::Listener,
};
use tokio::{
    net::TcpListener,
    sync::{Notify, oneshot},
};

use crate::common::{ScriptedAgent, call, memory, within};

#[tokio::test]
async fn one_server_serves_all_of_its_endpoints_in_order_and_stop_closes_them() {
    let (first, third) = (memory("first"), memory("third"));
    let bound = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = bound.local_addr().unwrap().port();
    let builder = LocalAgent::builder(ScriptedAgent)
        .endpoint(&first)
        .listener(bound)
        .endpoint(&third);
    let server = within(builder.serve()).await.unwrap();
    let endpoints = server.endpoints().to_vec();
    let texts: Vec<_> = endpoints.iter().map(ToString::to_string).collect();
    let tcp = format!("tcp://127.0.0.1:{port}");
    assert_eq!(texts, [first.to_string(), tcp, third.to_string()]);
    assert_eq!(server.endpoint(), &endpoints[0]);
    for endpoint in &endpoints {
        let remote = RemoteAgent::new(endpoint).unwrap();
        within(remote.process(Message::user("x"))).await.unwrap();
    }
    within(server.stop()).await;
    for endpoint in &endpoints {
        drop(Listener::bind(endpoint).await.unwrap());
    }
}

#[tokio::test]
async fn if_one_endpoint_cannot_be_bound_none_is_served() {
    let (free, taken) = (memory("free"), memory("taken"));
    let _holder = Listener::bind(&taken).await.unwrap();
    for (last, is_expected) in [
        (
            taken.to_string(),
            (|error| matches!(error, Error::Listen(_))) as fn(_) -> _,
        ),
        ("memory:/typo".to_owned(), |error| {
            matches!(error, Error::InvalidEndpoint(_))
        }),
    ] {
        let builder = LocalAgent::builder(ScriptedAgent)
            .endpoint(&free)
            .endpoint(&*last);
        let error = within(builder.serve()).await.unwrap_err();
        assert!(is_expected(error), "{last}");
        drop(Listener::bind(&free).await.unwrap());
    }
}

#[tokio::test]
async fn a_server_without_an_endpoint_is_an_error() {
    let error = LocalAgent::builder(ScriptedAgent)
        .serve()
        .await
        .unwrap_err();
    let setting = "endpoint";
    assert!(matches!(error, Error::InvalidSetting { setting: found, .. } if found == setting));
    let error = RegistryServer::builder(LocalRegistry::new()).serve().await;
    assert!(matches!(error.unwrap_err(), Error::InvalidSetting { .. }));
}

#[tokio::test]
async fn an_agent_is_registered_at_each_endpoint_or_at_the_advertised_ones() {
    let (one, other) = (memory("registered-one"), memory("registered-other"));
    for (advertised, count) in [(None, 2), (Some("tcp://agents.example:80"), 1)] {
        let registry = LocalRegistry::new();
        let mut builder = LocalAgent::builder(ScriptedAgent)
            .registry(registry.clone())
            .endpoint(&one)
            .endpoint(&other);
        if let Some(endpoint) = advertised {
            builder = builder.advertised_endpoint(endpoint);
        }
        let server = within(builder.serve()).await.unwrap();
        assert_eq!(server.registrations().len(), count);
        for registration in server.registrations() {
            within(registration.registered()).await.unwrap();
        }
        let found = registry.lookup("scripted").await.unwrap();
        let mut found: Vec<_> = found
            .iter()
            .map(|found| found.endpoint.to_string())
            .collect();
        found.sort();
        match advertised {
            Some(endpoint) => assert_eq!(found, [endpoint]),
            None => assert_eq!(found, [one.to_string(), other.to_string()]),
        }
        within(server.stop()).await;
        assert!(registry.lookup("scripted").await.unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn stopped_waits_for_the_end_of_a_stop_or_an_abort() {
    for aborts in [true, false] {
        let endpoint = memory("stopped");
        let server = LocalAgent::serve(ScriptedAgent, &endpoint).await.unwrap();
        let server = Arc::new(server);
        let waiting = tokio::spawn({
            let server = Arc::clone(&server);
            async move { server.stopped().await }
        });
        let remote = RemoteAgent::new(&endpoint).unwrap();
        let slow = Message::user("x").with_metadata("do", "slow");
        let slow = tokio::spawn(async move { remote.process(slow).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished());
        if aborts {
            within(server.abort()).await;
        } else {
            server.stop().await;
        }
        within(waiting).await.unwrap();
        assert_eq!(within(slow).await.unwrap().is_err(), aborts);
    }
}

#[tokio::test]
async fn serve_until_drains_when_its_future_resolves() {
    let endpoint = memory("until");
    let (stop, stopped) = oneshot::channel::<()>();
    let builder = LocalAgent::builder(ScriptedAgent).endpoint(&endpoint);
    let serving = tokio::spawn(builder.serve_until(stopped));
    let remote = RemoteAgent::new(&endpoint).unwrap();
    within(call(&remote, "x")).await.unwrap().unwrap();
    stop.send(()).unwrap();
    within(serving).await.unwrap().unwrap();
    drop(Listener::bind(&endpoint).await.unwrap());

    let failed = LocalAgent::builder(ScriptedAgent).serve_until(std::future::ready(()));
    assert!(matches!(
        within(failed).await,
        Err(Error::InvalidSetting { .. })
    ));
}

#[tokio::test]
async fn a_registry_server_serves_several_endpoints_until_its_future_resolves() {
    let endpoints = [memory("registry-one"), memory("registry-other")];
    let shutdown = Arc::new(Notify::new());
    let builder = RegistryServer::builder(LocalRegistry::new())
        .endpoint(&endpoints[0])
        .endpoint(&endpoints[1]);
    let serving = tokio::spawn(builder.serve_until({
        let shutdown = Arc::clone(&shutdown);
        async move { shutdown.notified().await }
    }));
    for endpoint in &endpoints {
        let registry = RemoteRegistry::new(endpoint).unwrap();
        assert!(within(registry.lookup("x")).await.unwrap().is_empty());
    }
    shutdown.notify_one();
    within(serving).await.unwrap().unwrap();
}
