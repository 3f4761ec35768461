//! Calls by name, without a registry server: instances from DNS and from a list.

use std::{
    io,
    net::IpAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::common::{ask_often, within};
use agentwire::{
    Balance, Error, LocalAgent, Message, RemoteAgent, agent_fn,
    registry::{DnsRegistry, Resolve, StaticRegistry},
    transport::BoxFuture,
};

/// Starts two agents at different addresses of this machine and at the same port.
#[cfg(target_os = "linux")]
async fn two_agents() -> ([LocalAgent; 2], u16) {
    let agent = |text: &'static str| {
        agent_fn("weather", move |_: Message| async move {
            Ok(Message::agent(text))
        })
    };
    loop {
        let first = LocalAgent::serve(agent("first"), "tcp://127.0.0.1:0")
            .await
            .unwrap();
        let (_, port) = first.endpoint().host_and_port().unwrap();
        // Another program may use the port at the other address.
        let endpoint = format!("tcp://127.0.0.2:{port}");
        if let Ok(second) = LocalAgent::serve(agent("second"), endpoint).await {
            return ([first, second], port);
        }
    }
}

/// A resolver whose addresses can be replaced.
#[derive(Clone, Default)]
struct Addresses(Arc<Mutex<Vec<IpAddr>>>);

impl Addresses {
    fn set(&self, addresses: &[&str]) {
        *self.0.lock().unwrap() = addresses.iter().map(|one| one.parse().unwrap()).collect();
    }
}

impl Resolve for Addresses {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async { Ok(self.0.lock().unwrap().clone()) })
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn calls_are_balanced_over_the_addresses_of_a_dns_name_and_follow_it() {
    let ([first, second], port) = two_agents().await;
    let addresses = Addresses::default();
    addresses.set(&["127.0.0.1", "127.0.0.2"]);
    let url = format!("dns://weather.svc:{port}");
    let registry = DnsRegistry::parse_with(&url, addresses.clone()).unwrap();
    let registry = registry.refresh_interval(Duration::from_millis(20));
    let remote = RemoteAgent::discover(registry, "weather")
        .balance(Balance::RoundRobin)
        .build()
        .unwrap();
    let answers = ask_often(&remote, 20).await;
    assert_eq!(answers.into_values().collect::<Vec<_>>(), [10, 10]);
    // An instance leaves.
    addresses.set(&["127.0.0.2"]);
    within(async { while ask_often(&remote, 4).await.len() > 1 {} }).await;
    within(first.stop()).await;
    // Its address is back before it serves again, and the other one is called.
    addresses.set(&["127.0.0.1", "127.0.0.2"]);
    assert_eq!(ask_often(&remote, 20).await["second"], 20);
    within(second.stop()).await;
}

#[tokio::test]
async fn a_name_without_addresses_has_no_instances() {
    let registry = DnsRegistry::parse_with("dns://none.svc:80", Addresses::default()).unwrap();
    let remote = RemoteAgent::discover(registry, "weather").build().unwrap();
    let error = within(remote.process(Message::user("x")))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::NotRegistered { .. }), "{error:?}");
}

#[tokio::test]
async fn calls_fail_over_among_a_list_of_endpoints() {
    let agent = agent_fn("weather", |_: Message| async {
        Ok(Message::agent("sunny"))
    });
    let server = LocalAgent::serve(agent, "tcp://127.0.0.1:0").await.unwrap();
    let list = format!("static:tcp://127.0.0.1:1,{}", server.endpoint());
    let registry = StaticRegistry::parse(&list).unwrap();
    let remote = RemoteAgent::discover(registry, "weather").build().unwrap();
    assert_eq!(ask_often(&remote, 10).await["sunny"], 10);
    within(server.stop()).await;
}

#[tokio::test]
async fn an_agent_cannot_register_in_dns() {
    let registry = DnsRegistry::parse_with("dns://a.svc:80", Addresses::default()).unwrap();
    let agent = agent_fn("weather", |message: Message| async { Ok(message) });
    let server = LocalAgent::builder(agent)
        .endpoint("tcp://127.0.0.1:0")
        .registry(registry)
        .serve()
        .await
        .unwrap();
    let handle = &server.registrations()[0];
    let error = within(handle.registered()).await.unwrap_err();
    assert!(error.to_string().contains("read-only"), "{error}");
    within(server.stop()).await;
}
