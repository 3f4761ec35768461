//! Who may register, see and unregister agents. The attacks are those of public bug reports.

use std::time::Duration;

use agentwire::{
    Endpoint, LocalAgent, Message, Principal, Proxy, RemoteAgent, agent_fn,
    auth::{Audit, AuditEvent, AuditKind, NotRecorded, Policy, Role, Rule, Security, Verb},
    registry::{
        Event, InstanceRef, LocalRegistry, Query, Registration, Registry, RegistryError,
        RegistryServer, RemoteRegistry, WatchScope,
    },
    transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::support::{Events, bearer, token, tokens};

async fn serve(name: &str, events: &Events) -> (RegistryServer, LocalRegistry) {
    let weather = Role::new("weather").allow(Rule::new([Verb::Register]).agents(["weather*"]));
    let principals = [
        ("root", "admin", None),
        ("honest", "agent-full", None),
        ("mallory", "agent-full", None),
        ("reader", "observer", None),
        ("narrow", "weather", None),
        ("prod", "agent-full", Some("prod")),
        ("prod2", "agent-full", Some("prod")),
        ("test", "agent-full", Some("test")),
    ];
    let principals = principals.map(|(name, role, namespace)| {
        let principal = Principal::new(name).with_role(role);
        match namespace {
            Some(namespace) => principal.with_namespace(namespace),
            None => principal,
        }
    });
    let security = Security::new()
        .authenticate(tokens(principals))
        .authorize(Policy::new().role(weather))
        .audit(events.clone());
    let registry = LocalRegistry::new();
    let server = RegistryServer::builder(registry.clone())
        .endpoint(format!("memory://auth-registry-{name}"))
        .security(security)
        .serve()
        .await
        .unwrap();
    (server, registry)
}

fn connect(server: &RegistryServer, name: &str) -> RemoteRegistry {
    RemoteRegistry::builder(server.endpoint())
        .credentials(bearer(name))
        .build()
        .unwrap()
}

fn weather() -> Registration {
    Registration::new("weather", "tcp://10.0.0.7:8080".parse().unwrap())
}

/// Returns the code of an answer that is an error.
fn code_of(answer: &str) -> String {
    let answer = agentwire_codec::json::from_slice(answer.as_bytes()).unwrap();
    let payload = answer.get("payload").unwrap();
    payload
        .get("error_code")
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned()
}

fn code(result: Result<impl std::fmt::Debug, RegistryError>) -> String {
    result.unwrap_err().code().as_str().to_owned()
}

#[tokio::test]
async fn nobody_replaces_renews_or_unregisters_the_agent_of_another_principal() {
    let events = Events::default();
    let (server, _) = serve("others", &events).await;
    let [honest, mallory, root] = ["honest", "mallory", "root"].map(|name| connect(&server, name));
    let own = weather();
    honest.register(own.clone()).await.unwrap();
    // The attacker knows all that a registry shows, and the owner key would not help either.
    let seen = mallory.lookup("weather").await.unwrap().remove(0);
    let mut copy = Registration::clone(&seen);
    copy.instance.clone_from(&own.instance);
    assert_eq!(code(mallory.register(copy).await), "DUPLICATE_AGENT");
    assert_eq!(code(mallory.register(weather()).await), "DUPLICATE_AGENT");
    for which in [
        InstanceRef::from(&seen),
        InstanceRef::new("weather"),
        InstanceRef::new("weather").with_endpoint(own.endpoint.clone()),
        InstanceRef::from(&own).with_owner("guessed"),
    ] {
        assert_eq!(
            code(mallory.heartbeat(&which).await),
            "DUPLICATE_AGENT",
            "{which:?}"
        );
        assert_eq!(
            code(mallory.unregister(&which).await),
            "DUPLICATE_AGENT",
            "{which:?}"
        );
    }
    assert!(events.denied(AuditKind::Registration).len() >= 10);
    honest.heartbeat(&InstanceRef::from(&own)).await.unwrap();
    // An administrator may unregister agents of others.
    root.unregister(&InstanceRef::new("weather")).await.unwrap();
    assert!(honest.lookup("weather").await.unwrap().is_empty());
    let removed = events.take();
    let removed = removed
        .iter()
        .rfind(|event| event.kind == AuditKind::Registration)
        .unwrap();
    assert_eq!(removed.principal.as_deref(), Some("root"));
    assert_eq!(removed.method.as_deref(), Some("unregister"));
    assert!(removed.is_allowed);
}

#[tokio::test]
async fn names_and_verbs_of_a_registry_need_permissions() {
    let events = Events::default();
    let (server, _) = serve("verbs", &events).await;
    let [reader, narrow, nobody] =
        ["reader", "narrow", "nobody"].map(|name| connect(&server, name));
    let payroll = Registration::new("payroll", "tcp://10.0.0.7:8080".parse().unwrap());
    narrow.register(weather()).await.unwrap();
    let denied = "PERMISSION_DENIED";
    assert_eq!(code(narrow.register(payroll.clone()).await), denied);
    assert_eq!(
        code(narrow.unregister(&InstanceRef::from(&payroll)).await),
        denied
    );
    assert_eq!(code(narrow.list().await), denied);
    assert_eq!(code(narrow.lookup("weather").await), denied);
    assert_eq!(code(narrow.find(Query::new()).await), denied);
    assert_eq!(code(reader.register(weather()).await), denied);
    assert_eq!(reader.list().await.unwrap().len(), 1);
    assert_eq!(events.denied(AuditKind::Authorization).len(), 6);
    let unauthenticated = "UNAUTHENTICATED";
    assert_eq!(code(nobody.register(weather()).await), unauthenticated);
    assert_eq!(code(nobody.list().await), unauthenticated);
    assert_eq!(
        code(nobody.heartbeat(&InstanceRef::new("weather")).await),
        unauthenticated
    );
    assert_eq!(
        code(nobody.unregister(&InstanceRef::new("weather")).await),
        unauthenticated
    );
    assert_eq!(events.denied(AuditKind::Authentication).len(), 4);
}

#[tokio::test]
async fn invalid_endpoints_and_full_quotas_are_recorded() {
    let events = Events::default();
    let (server, _) = serve("invalid", &events).await;
    let mallory = connect(&server, "mallory");
    for endpoint in [
        "tcp://0.0.0.0:8080",
        "tcp://[::]:8080",
        "tcp://224.0.0.1:80",
    ] {
        let odd = Registration::new("odd", endpoint.parse().unwrap());
        mallory.register(odd).await.unwrap_err();
    }
    let mut refused = 0;
    for port in 1..=1030 {
        let endpoint = format!("tcp://10.0.0.7:{port}").parse().unwrap();
        refused += usize::from(
            mallory
                .register(Registration::new("many", endpoint))
                .await
                .is_err(),
        );
    }
    assert!(refused >= 6, "{refused}");
    let denied = events.denied(AuditKind::Registration);
    assert!(
        denied.iter().any(|reason| reason.contains("quota")),
        "{denied:?}"
    );
}

#[tokio::test]
async fn namespaces_never_see_each_other() {
    let events = Events::default();
    let (server, backend) = serve("namespaces", &events).await;
    let [honest, prod, prod2, test] =
        ["honest", "prod", "prod2", "test"].map(|name| connect(&server, name));
    let mut watch = prod2.watch(WatchScope::All);
    assert!(matches!(
        watch.next().await,
        Some(Ok(Event::Snapshot { .. }))
    ));
    // The same name at the same endpoint, in three namespaces.
    let own = weather();
    for registry in [&honest, &prod, &test] {
        registry.register(own.clone()).await.unwrap();
    }
    for (registry, expected) in [(&honest, 1), (&prod, 1), (&prod2, 1), (&test, 1)] {
        for list in [
            registry.list().await.unwrap(),
            registry.lookup("weather").await.unwrap(),
            registry.find(Query::new().name("weather")).await.unwrap(),
            registry.find(Query::new()).await.unwrap(),
        ] {
            assert_eq!(list.len(), expected);
            assert_eq!(list[0].name, "weather");
        }
    }
    assert_eq!(backend.list().await.unwrap().len(), 3);
    let Some(Ok(Event::Joined(joined))) = watch.next().await else {
        panic!("no event");
    };
    assert_eq!(joined.name, "weather");
    test.unregister(&InstanceRef::from(&own)).await.unwrap();
    prod.register(Registration::new(
        "other",
        "tcp://10.0.0.7:1".parse().unwrap(),
    ))
    .await
    .unwrap();
    let Some(Ok(Event::Joined(joined))) = watch.next().await else {
        panic!("no event, or an event of another namespace");
    };
    assert_eq!(joined.name, "other");
    // No name of one namespace is a name of another.
    for name in ["@prod/weather", "@prod/"] {
        let forged = Registration::new(name, "tcp://10.0.0.7:9".parse().unwrap());
        assert_eq!(code(honest.register(forged).await), "PERMISSION_DENIED");
        honest.lookup(name).await.unwrap_err();
        assert!(test.lookup(name).await.unwrap().is_empty());
    }
    let mut forged = weather();
    forged.name = "@prod/weather".to_owned();
    test.register(forged).await.unwrap();
    assert_eq!(prod.list().await.unwrap().len(), 2);
    let error = test
        .register(Registration::new("", weather().endpoint))
        .await
        .unwrap_err();
    assert_eq!(error.code().as_str(), "REGISTRATION_FAILED");
}

/// Registers an endpoint without a client, because clients refuse odd endpoints themselves. Returns
/// the answer as text.
async fn register_by_hand(server: &Endpoint, principal: &str, endpoint: &str) -> String {
    let payload = format!(r#""agent_name": "payroll", "endpoint": "{endpoint}""#);
    by_hand(server, "register", principal, &payload).await
}

/// Sends an envelope of this type without a client. Returns the answer as text.
async fn by_hand(server: &Endpoint, kind: &str, principal: &str, payload: &str) -> String {
    let token = token(principal);
    let envelope = format!(
        r#"{{"version": "1.0", "type": "{kind}", "id": "7", "payload": {{{payload}, "metadata": {{"token": "{token}"}}}}}}"#
    );
    let mut connection = transport::connect(server).await.unwrap();
    let len = u32::try_from(envelope.len()).unwrap();
    connection.write_u32(len).await.unwrap();
    connection.write_all(envelope.as_bytes()).await.unwrap();
    let len = connection.read_u32().await.unwrap();
    let mut answer = vec![0; len as usize];
    connection.read_exact(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Checks that an attack was refused, and that the record says by whom it was tried, with which
/// method, and why it was refused.
#[track_caller]
fn assert_recorded(
    events: &Events,
    attack: &str,
    result: Result<impl std::fmt::Debug, impl std::fmt::Debug>,
) {
    result.expect_err(attack);
    let taken = events.take();
    let is_recorded = taken.iter().any(|event| {
        !event.is_allowed
            && event.principal.as_deref() == Some("mallory")
            && event.method.is_some()
            && event.agent.is_some()
            && event.reason.is_some()
    });
    assert!(is_recorded, "{attack}: {taken:?}");
}

/// An honest agent `weather` in a registry, and an attacker who may register any name.
async fn attacked(name: &str) -> (RegistryServer, Events, Registration, [RemoteRegistry; 2]) {
    let events = Events::default();
    let (server, _) = serve(name, &events).await;
    let [honest, mallory] = ["honest", "mallory"].map(|name| connect(&server, name));
    let own = weather();
    honest.register(own.clone()).await.unwrap();
    events.take();
    (server, events, own, [honest, mallory])
}

/// Checks that the honest agent has lost nothing.
async fn assert_unharmed(honest: &RemoteRegistry, own: &Registration) {
    honest.heartbeat(&InstanceRef::from(own)).await.unwrap();
    let found = honest.lookup("weather").await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].instance, own.instance);
}

#[tokio::test]
async fn taking_over_a_registration_is_refused_and_recorded() {
    let (_server, events, own, [honest, mallory]) = attacked("takeover").await;
    let endpoint = own.endpoint.clone();
    // Registers the name at the honest endpoint under another instance id, and then leaves.
    let other = Registration::new("weather", endpoint.clone()).with_instance("mine");
    let result = mallory.register(other.clone()).await;
    assert_recorded(&events, "another instance id", result);
    // Nothing matches this instance id, so nothing is removed.
    mallory
        .unregister(&InstanceRef::from(&other))
        .await
        .unwrap();
    let attempt = events.take().pop().unwrap();
    assert_eq!(attempt.method.as_deref(), Some("unregister"));
    assert_eq!(attempt.principal.as_deref(), Some("mallory"));
    // Two agents that advertise one address: the second never replaces the first.
    let twin = Registration::new("weather", endpoint).with_instance("");
    assert_recorded(&events, "no instance id", mallory.register(twin).await);
    // What a registry shows is not enough to pass for the honest agent.
    let seen = mallory.lookup("weather").await.unwrap().remove(0);
    let result = mallory.register(Registration::clone(&seen)).await;
    assert_recorded(&events, "the same instance id", result);
    assert_unharmed(&honest, &own).await;
}

#[tokio::test]
async fn removing_any_registration_and_filling_a_registry_are_refused_and_recorded() {
    let (_server, events, own, [honest, mallory]) = attacked("remove").await;
    for which in [
        InstanceRef::new("weather"),
        InstanceRef::new("weather").with_endpoint(own.endpoint.clone()),
    ] {
        let result = mallory.unregister(&which).await;
        assert_recorded(&events, "unregister without an instance", result);
        let result = mallory.heartbeat(&which).await;
        assert_recorded(&events, "renew without an instance", result);
    }
    let mut full = None;
    for port in 1..=2000 {
        let many = format!("tcp://10.0.0.9:{port}").parse().unwrap();
        let result = mallory.register(Registration::new("many", many)).await;
        if result.is_err() {
            full = Some(result);
            break;
        }
    }
    assert_recorded(&events, "fill the registry", full.expect("a quota"));
    // Others can still register.
    let other = Registration::new("other", "tcp://10.0.0.8:1".parse().unwrap());
    honest.register(other).await.unwrap();
    assert_unharmed(&honest, &own).await;
}

#[tokio::test]
async fn endpoints_that_mislead_are_refused_and_recorded() {
    let (server, events, own, [honest, mallory]) = attacked("mislead").await;
    for odd in [
        "tcp://0.0.0.0:8080",
        "tcp://[::]:8080",
        "tcp://224.0.0.1:8080",
        "tcp://[ff02::1]:8080",
        "tcp://255.255.255.255:8080",
        "tcp://0x7f.1:8080",
        "tls://0.0.0.0:8080",
        "unix://relative.sock",
        r"unix:///run/a\u0007.sock",
        r"tcp://10.0.0.7\n:8080",
    ] {
        let answer = register_by_hand(server.endpoint(), "mallory", odd).await;
        assert!(answer.contains("REGISTRATION_FAILED"), "{odd}: {answer}");
        assert_recorded(&events, odd, Err::<(), _>(answer));
    }
    let listed = mallory.list().await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_unharmed(&honest, &own).await;
}

#[tokio::test]
async fn taking_over_the_endpoint_of_an_agent_that_left_is_refused_or_ends_its_connections() {
    let weather_only = Role::new("weather").allow(Rule::new([Verb::Register]).agents(["weather"]));
    let other_only = Role::new("other").allow(Rule::new([Verb::Register]).agents(["other*"]));
    let events = Events::default();
    let security = Security::new()
        .authenticate(tokens([
            Principal::new("honest").with_role("weather"),
            Principal::new("successor").with_role("weather"),
            Principal::new("mallory").with_role("other"),
            Principal::new("caller").with_role("agent-consumer"),
        ]))
        .authorize(Policy::new().role(weather_only).role(other_only))
        .audit(events.clone());
    let registry = RegistryServer::builder(LocalRegistry::new())
        .endpoint("memory://auth-registry-left")
        .security(security)
        .serve()
        .await
        .unwrap();
    let [honest, successor, mallory, caller] =
        ["honest", "successor", "mallory", "caller"].map(|name| connect(&registry, name));
    let agent = agent_fn("weather", |message: Message| async move { Ok(message) });
    let agent = LocalAgent::serve(agent, "tcp://127.0.0.1:0").await.unwrap();
    let registration = Registration::new("weather", agent.endpoint().clone());
    let first = registration.clone().with_instance("first");
    honest.register(first.clone()).await.unwrap();
    let remote = RemoteAgent::discover(caller, Query::new().name("weather"));
    let remote = remote.build().unwrap();
    remote.process(Message::user("?")).await.unwrap();
    assert_eq!(remote.stats().open, 1);

    honest.unregister(&InstanceRef::from(&first)).await.unwrap();
    events.take();
    let forged = registration.clone().with_instance("second");
    assert_recorded(&events, "a name of others", mallory.register(forged).await);
    // Another principal that may use the name is another instance. Its calls need new connections.
    let second = registration.with_instance("second");
    successor.register(second).await.unwrap();
    while remote.stats().open > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    remote.process(Message::user("?")).await.unwrap();
}

#[tokio::test]
async fn a_proxy_of_one_namespace_passes_registry_methods_and_others_do_not() {
    let registry = RegistryServer::builder(LocalRegistry::new())
        .endpoint("memory://auth-proxied-registry")
        .serve()
        .await
        .unwrap();
    let principals = || {
        tokens([
            Principal::new("prod")
                .with_role("agent-full")
                .with_namespace("prod"),
            Principal::new("prod2")
                .with_role("agent-full")
                .with_namespace("prod"),
            Principal::new("test")
                .with_role("agent-full")
                .with_namespace("test"),
            Principal::new("pinger")
                .with_role("observer")
                .with_namespace("prod"),
            Principal::new("mallory").with_role("agent-full"),
        ])
    };
    let proxy = async |endpoint: &str, security: Security| {
        Proxy::builder(RemoteAgent::builder(registry.endpoint()))
            .endpoint(endpoint)
            .security(security)
            .serve()
            .await
            .unwrap()
    };
    let events = Events::default();
    let security = Security::new()
        .authenticate(principals())
        .audit(events.clone());
    let shared = proxy("memory://auth-proxy-shared", security).await;
    let security = Security::new().authenticate(principals()).namespace("prod");
    let own = proxy("memory://auth-proxy-own", security).await;
    let connect = |proxy: &Proxy, name: &str| {
        let registry = RemoteRegistry::builder(proxy.endpoint());
        registry.credentials(bearer(name)).build().unwrap()
    };
    // The target does not know the namespaces of a proxy that serves all of them.
    assert_eq!(
        code(connect(&shared, "prod").register(weather()).await),
        "PERMISSION_DENIED"
    );
    assert_eq!(
        code(connect(&shared, "prod").list().await),
        "PERMISSION_DENIED"
    );
    assert_eq!(events.denied(AuditKind::Authorization).len(), 2);
    // The target of a proxy with one namespace belongs to it.
    let [prod, prod2] = ["prod", "prod2"].map(|name| connect(&own, name));
    let registration = weather();
    prod.register(registration.clone()).await.unwrap();
    let which = InstanceRef::from(&registration);
    prod.heartbeat(&which).await.unwrap();
    assert_eq!(prod2.lookup("weather").await.unwrap().len(), 1);
    assert_eq!(prod2.find(Query::new()).await.unwrap().len(), 1);
    let mut watch = prod2.watch(WatchScope::All);
    assert!(matches!(
        watch.next().await,
        Some(Ok(Event::Snapshot { .. }))
    ));
    assert_eq!(code(prod2.unregister(&which).await), "DUPLICATE_AGENT");
    // Python's form of a heartbeat has only the name. Through a proxy, it renews the registration of
    // its sender. A principal that may only ping does not learn whether the name exists.
    let renew = async |name: &str, agent: &str| {
        let payload = format!(r#""agent_name": "{agent}""#);
        let answer = by_hand(own.endpoint(), "heartbeat", name, &payload).await;
        answer.replace(agent, "NAME")
    };
    register_by_hand(own.endpoint(), "prod", "tcp://10.0.0.8:8080").await;
    let renewed = renew("prod", "payroll").await;
    assert!(renewed.contains(r#""type": "response""#), "{renewed}");
    let refused = renew("prod2", "payroll").await;
    assert!(refused.contains("DUPLICATE_AGENT"), "{refused}");
    assert_eq!(code_of(&renew("prod", "nothing").await), "AGENT_NOT_FOUND");
    for agent in ["payroll", "nothing"] {
        assert_eq!(
            code_of(&renew("pinger", agent).await),
            "REGISTRATION_FAILED"
        );
    }
    for name in ["test", "mallory"] {
        assert_eq!(
            code(connect(&own, name).unregister(&which).await),
            "PERMISSION_DENIED"
        );
        assert_eq!(code(connect(&own, name).list().await), "PERMISSION_DENIED");
    }
    prod.unregister(&which).await.unwrap();
    assert!(prod.lookup("weather").await.unwrap().is_empty());
}

/// A record that takes only some kinds of events.
struct Full(&'static [AuditKind]);

impl Audit for Full {
    async fn record(&self, event: AuditEvent) -> Result<(), NotRecorded> {
        if self.0.contains(&event.kind) {
            Ok(())
        } else {
            Err(NotRecorded)
        }
    }
}

#[tokio::test]
async fn a_registry_changes_nothing_that_it_has_not_recorded() {
    let takes: [(&str, &[AuditKind], bool); 3] = [
        ("nothing", &[], false),
        ("authentication", &[AuditKind::Authentication], false),
        // The outcome is missing. The caller gets it, because the change has been made.
        (
            "changes",
            &[AuditKind::Authentication, AuditKind::Authorization],
            true,
        ),
    ];
    for (name, kinds, changes) in takes {
        let registry = LocalRegistry::new();
        let security = Security::new()
            .authenticate(tokens([Principal::new("alice").with_role("agent-full")]))
            .audit(Full(kinds));
        let server = RegistryServer::builder(registry.clone())
            .endpoint(format!("memory://auth-full-record-{name}"))
            .security(security)
            .serve()
            .await
            .unwrap();
        let alice = connect(&server, "alice");
        let weather = weather();
        // A second request on the same connection is recorded like the first.
        for _ in 0..2 {
            let registered = alice.register(weather.clone()).await;
            assert_eq!(registered.is_ok(), changes, "{name}: {registered:?}");
        }
        assert_eq!(
            registry.list().await.unwrap().is_empty(),
            !changes,
            "{name}"
        );
    }
}
