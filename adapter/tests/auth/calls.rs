//! Who may call an agent.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use agentwire::{
    ApiKey, Credential, Credentials, Error, LocalAgent, Map, Message, Principal, Proxy,
    RemoteAgent, RequestContext, RetryPolicy,
    auth::{AuditKind, Authenticate, Denied, Policy, Quota, Role, Rule, Security, Users, Verb},
    map, stream_fn,
    transport::{Peer, internal::own_uid},
};
use futures_util::stream;

use super::support::{Events, bearer, client, endpoints, serve, token, tokens};

fn alice() -> Principal {
    Principal::new("alice").with_role("agent-consumer")
}

#[tokio::test]
async fn every_method_needs_a_credential_and_works_with_one() {
    let events = Events::default();
    let security = Security::new()
        .authenticate(tokens([alice()]))
        .audit(events.clone());
    let server = serve(security, "memory://auth-every-method").await;
    for credentials in [None, Some("wrong"), Some("")] {
        let mut anyone = client(&server);
        if let Some(wrong) = credentials {
            anyone = anyone.credentials(Credential::bearer(wrong));
        }
        let anyone = anyone.build().unwrap();
        let chunk = anyone.stream(Message::user("?")).next().await.unwrap();
        for result in [
            anyone.process(Message::user("?")).await.map(drop),
            chunk.map(drop),
            anyone.execute("forecast", Map::new()).await.map(drop),
            anyone.describe().await.map(drop),
            anyone.ping().await.map(drop),
        ] {
            let error = result.unwrap_err();
            assert!(matches!(error, Error::Unauthenticated { .. }), "{error}");
            assert!(!error.is_retryable());
        }
    }
    assert_eq!(events.denied(AuditKind::Authentication).len(), 15);
    for credentials in [
        Credentials::from(bearer("alice")),
        ApiKey::new(token("alice")).into(),
        Credentials::from_fn(|| Credential::bearer(token("alice"))),
    ] {
        let alice = client(&server)
            .credentials(credentials.clone())
            .build()
            .unwrap();
        let reply = alice.process(Message::user("?")).await.unwrap();
        assert_eq!(
            reply.content,
            agentwire::Value::from(map! {"principal": "alice", "metadata": (Map::new())})
        );
        let clock = RemoteAgent::builder(server.endpoint()).name("clock");
        let clock = clock.credentials(credentials).build().unwrap();
        let chunk = clock
            .stream(Message::user("?"))
            .next()
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            chunk.content.get("principal"),
            Some(&agentwire::Value::from("alice"))
        );
        let result = alice.execute("forecast", Map::new()).await.unwrap();
        assert_eq!(result.data, agentwire::Value::from("alice"));
        alice.describe().await.unwrap();
        alice.ping().await.unwrap();
    }
    let all = format!("{:?}", events.take());
    assert!(
        all.contains("alice") && !all.contains("secret token"),
        "{all}"
    );
}

#[tokio::test]
async fn the_answers_do_not_tell_a_wrong_token_from_an_unknown_one() {
    let server = serve(
        Security::new().authenticate(tokens([alice()])),
        "memory://auth-texts",
    )
    .await;
    let mut answers = Vec::new();
    for wrong in [
        token("alice").to_uppercase(),
        "unknown".to_owned(),
        "a.b.c".to_owned(),
    ] {
        let client = client(&server)
            .credentials(Credential::bearer(wrong))
            .build()
            .unwrap();
        let error = client.process(Message::user("?")).await.unwrap_err();
        answers.push(error.remote().unwrap().clone());
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
}

#[tokio::test]
async fn a_forged_user_reaches_no_agent() {
    let forged = || {
        let message = Message::user("?").with_metadata("authenticated_user", map! {"user_id": "x"});
        message.with_metadata("kept", 1)
    };
    let open = serve(Security::new(), "memory://auth-forged-open").await;
    let closed = Security::new().authenticate(tokens([alice()]));
    let exposing = closed.clone().expose_authenticated_user(true);
    let closed = serve(closed, "memory://auth-forged").await;
    let exposing = serve(exposing, "memory://auth-exposing").await;
    for (server, expected) in [
        (&open, map! {"kept": 1}),
        (&closed, map! {"kept": 1}),
        (
            &exposing,
            map! {"kept": 1, "authenticated_user": (map! {
                "user_id": "alice", "roles": ["agent-consumer"],
                "permissions": (Vec::<agentwire::Value>::new()),
            })},
        ),
    ] {
        for name in ["weather", "clock"] {
            let remote = RemoteAgent::builder(server.endpoint()).name(name);
            let remote = remote.credentials(bearer("alice")).build().unwrap();
            let reply = match name {
                "weather" => remote.process(forged()).await.unwrap(),
                _ => remote.stream(forged()).next().await.unwrap().unwrap(),
            };
            let mut metadata = reply
                .content
                .get("metadata")
                .unwrap()
                .as_map()
                .unwrap()
                .clone();
            if std::ptr::eq(server, &open) {
                // A server without authentication leaves credentials to its agents.
                assert!(metadata.remove("authorization").is_some());
            }
            assert_eq!(metadata, expected);
        }
    }
}

#[tokio::test]
async fn a_proxy_authenticates_for_its_target_and_forwards_no_credential() {
    let target = serve(Security::new(), "memory://auth-proxy-target").await;
    let security = Security::new()
        .authenticate(tokens([
            alice(),
            Principal::new("bob").with_role("observer"),
        ]))
        .expose_authenticated_user(true);
    let proxy = Proxy::builder(RemoteAgent::builder(target.endpoint()))
        .endpoint("memory://auth-proxy")
        .security(security)
        .serve()
        .await
        .unwrap();
    let remote = RemoteAgent::builder(proxy.endpoint()).name("weather");
    let remote = remote.credentials(bearer("alice")).build().unwrap();
    let reply = remote
        .process(Message::user("?").with_metadata("kept", 1))
        .await
        .unwrap();
    // The target removes what it cannot trust.
    assert_eq!(
        reply.content.get("metadata").unwrap(),
        &agentwire::Value::from(map! {"kept": 1})
    );
    assert!(
        remote
            .execute("forecast", Map::new())
            .await
            .unwrap()
            .success
    );
    for credential in [
        Credential::bearer("wrong"),
        Credential::bearer(token("bob")),
    ] {
        let remote = RemoteAgent::builder(proxy.endpoint()).name("weather");
        let remote = remote.credentials(credential).build().unwrap();
        assert!(remote.process(Message::user("?")).await.is_err());
        assert!(remote.execute("forecast", Map::new()).await.is_err());
        assert!(
            remote
                .stream(Message::user("?"))
                .next()
                .await
                .unwrap()
                .is_err()
        );
    }
}

#[tokio::test]
async fn a_user_behind_a_unix_socket_needs_no_credential() {
    let directory = tempfile::tempdir().unwrap();
    let socket = format!("unix://{}/a.sock", directory.path().display());
    let uid = own_uid().unwrap();
    let users = Users::new().allow_uid(uid, alice());
    let server = serve(Security::new().authenticate(users), &socket).await;
    let remote = client(&server).peer_uid(uid).build().unwrap();
    remote.process(Message::user("?")).await.unwrap();
    // A wrong credential outweighs the user.
    let wrong = client(&server)
        .credentials(bearer("mallory"))
        .build()
        .unwrap();
    let error = wrong.process(Message::user("?")).await.unwrap_err();
    assert!(matches!(error, Error::Unauthenticated { .. }));
    let other = client(&server).peer_uid(uid + 1).build().unwrap();
    let error = other.process(Message::user("?")).await.unwrap_err();
    assert!(
        error.is_connect() && format!("{error:#}").contains("runs as user"),
        "{error:#}"
    );
}

#[tokio::test]
async fn permissions_apply_to_the_agent_that_answers() {
    let role = Role::new("r").allow(Rule::new([Verb::Call]).agents(["weather*"]));
    let bob = Principal::new("bob").with_role("r");
    let security = || {
        let security = Security::new().authenticate(tokens([bob.clone()]));
        security.authorize(Policy::new().role(role.clone()))
    };
    let server = serve(security(), "memory://auth-names").await;
    let named = |name: &str| {
        let remote = RemoteAgent::builder(server.endpoint()).name(name);
        remote.credentials(bearer("bob")).build().unwrap()
    };
    named("weather").process(Message::user("?")).await.unwrap();
    let error = named("clock")
        .process(Message::user("?"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::PermissionDenied { .. }), "{error}");
    // A single agent answers under any name, but permissions apply to its own name.
    let payroll = agentwire::agent_fn("payroll", |message: Message| async move { Ok(message) });
    let payroll = LocalAgent::builder(payroll)
        .endpoint("memory://auth-payroll")
        .security(security())
        .serve()
        .await
        .unwrap();
    for name in ["weather", "payroll", ""] {
        let remote = RemoteAgent::builder(payroll.endpoint()).name(name);
        let remote = remote.credentials(bearer("bob")).build().unwrap();
        let error = remote.process(Message::user("?")).await.unwrap_err();
        assert!(
            matches!(error, Error::PermissionDenied { .. }),
            "{name}: {error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_refuses_and_a_client_that_resends_waits() {
    let events = Events::default();
    let quota = Quota::new().requests_per_minute(60).burst(2).streams(1);
    let security = Security::new().authenticate(tokens([alice()])).quota(quota);
    let server = serve(security.audit(events.clone()), "memory://auth-quota").await;
    let impatient = client(&server)
        .credentials(bearer("alice"))
        .build()
        .unwrap();
    for _ in 0..2 {
        impatient.process(Message::user("?")).await.unwrap();
    }
    let error = impatient.process(Message::user("?")).await.unwrap_err();
    assert!(
        matches!(error, Error::RateLimited { .. }) && error.is_retryable(),
        "{error}"
    );
    let wait = error
        .remote()
        .unwrap()
        .details
        .get("retry_after_ms")
        .unwrap()
        .as_u64()
        .unwrap();
    assert!((900..=1000).contains(&wait), "{wait}");
    let patient = client(&server)
        .credentials(bearer("alice"))
        .retry(RetryPolicy::new().resend(1))
        .build()
        .unwrap();
    let start = tokio::time::Instant::now();
    patient.process(Message::user("?")).await.unwrap();
    assert!(
        start.elapsed() >= Duration::from_millis(900),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(events.denied(AuditKind::Quota).len(), 2);
}

#[tokio::test]
async fn a_quota_says_over_every_carrier_when_to_come_back() {
    for endpoint in endpoints("quota-carriers") {
        let quota = Quota::new().requests_per_minute(1).burst(1);
        let security = Security::new().authenticate(tokens([alice()])).quota(quota);
        let server = serve(security, &endpoint).await;
        let remote = client(&server).credentials(bearer("alice"));
        let remote = remote.build().unwrap();
        let error = loop {
            if let Err(error) = remote.process(Message::user("?")).await {
                break error;
            }
        };
        assert!(
            matches!(error, Error::RateLimited { .. }),
            "{endpoint}: {error}"
        );
        let details = &error.remote().unwrap().details;
        let wait = details.get("retry_after_ms").and_then(|wait| wait.as_u64());
        assert!(
            (1..=60_000).contains(&wait.unwrap()),
            "{endpoint}: {details:?}"
        );
    }
}

#[test]
fn credentials_are_not_sent_in_plain_text_over_a_network() {
    let builder = || RemoteAgent::builder("tcp://10.0.0.1:80").credentials(bearer("alice"));
    let error = builder().build().unwrap_err();
    assert!(
        matches!(
            error,
            Error::InvalidSetting {
                setting: "credentials",
                ..
            }
        ),
        "{error}"
    );
    builder().allow_plaintext_credentials(true).build().unwrap();
}

#[tokio::test]
async fn a_description_contains_only_what_the_caller_may_see() {
    let principals = [
        ("weather", Rule::new([Verb::Lookup]).agents(["weather"])),
        ("tools", Rule::new([Verb::Execute]).tools(["fore*"])),
        ("nothing", Rule::new([Verb::Lookup]).agents(["payroll"])),
    ];
    let mut policy = Policy::new();
    let mut known = vec![Principal::new("all").with_role("observer")];
    for (name, rule) in principals {
        let lookup = Rule::new([Verb::Lookup]).agents(["clock"]);
        let role = Role::new(name).allow(rule);
        policy = policy.role(match name {
            "tools" => role.allow(lookup),
            _ => role,
        });
        known.push(Principal::new(name).with_role(name));
    }
    let security = Security::new()
        .authenticate(tokens(known))
        .authorize(policy);
    let server = serve(security.clone(), "memory://auth-describe").await;
    let proxy = Proxy::builder(RemoteAgent::builder(server.endpoint()).credentials(bearer("all")))
        .endpoint("memory://auth-describe-proxy")
        .security(security)
        .serve()
        .await
        .unwrap();
    let describe = async |endpoint: &agentwire::Endpoint, name: &str| {
        let remote = RemoteAgent::builder(endpoint).credentials(bearer(name));
        remote.build().unwrap().describe().await
    };
    for (name, agents, tools) in [
        ("all", &["clock", "weather"][..], &["forecast"][..]),
        ("weather", &["weather"], &[]),
        ("tools", &["clock"], &["forecast"]),
        ("nothing", &[], &[]),
    ] {
        let seen = describe(server.endpoint(), name).await.unwrap();
        let names: Vec<_> = seen.agents.iter().map(|agent| &*agent.name).collect();
        assert_eq!(names, agents, "{name}");
        let names: Vec<_> = seen.tools.iter().map(|tool| &*tool.name).collect();
        assert_eq!(names, tools, "{name}");
        // A proxy does not filter the description of its target, so all names must be allowed.
        let through = describe(proxy.endpoint(), name).await;
        assert_eq!(through.is_ok(), name == "all", "{name}");
    }
}

#[tokio::test]
async fn an_error_names_only_agents_and_tools_that_the_caller_may_use() {
    let forecasts = Role::new("forecasts")
        .allow(Rule::new([Verb::Call, Verb::Stream]).agents(["w*"]))
        .allow(Rule::new([Verb::Execute]).tools(["f*"]));
    let others = Role::new("others")
        .allow(Rule::new([Verb::Call, Verb::Stream]).agents(["x*"]))
        .allow(Rule::new([Verb::Execute]).tools(["x*"]));
    let security = Security::new()
        .authenticate(tokens([
            Principal::new("alice").with_role("forecasts"),
            Principal::new("bob").with_role("others"),
        ]))
        .authorize(Policy::new().role(forecasts).role(others));
    let server = serve(security.clone(), "memory://auth-names-in-errors").await;
    // The target of a proxy answers with all names.
    let target = serve(Security::new(), "memory://auth-names-behind-a-proxy").await;
    let proxy = Proxy::builder(RemoteAgent::builder(target.endpoint()))
        .endpoint("memory://auth-names-in-errors-of-a-proxy")
        .security(security)
        .serve()
        .await
        .unwrap();
    let both = [server.endpoint(), proxy.endpoint()];
    let callers = [
        ("alice", ["w", "f"], &["weather"][..], &["forecast"][..]),
        ("bob", ["x", "x"], &[], &[]),
    ];
    for (endpoint, (name, missing, agents, tools)) in both
        .into_iter()
        .flat_map(|endpoint| callers.map(|caller| (endpoint, caller)))
    {
        let remote = RemoteAgent::builder(endpoint).name(missing[0]);
        let remote = remote.credentials(bearer(name)).build().unwrap();
        let call = remote.process(Message::user("?")).await.unwrap_err();
        let stream = remote.stream(Message::user("?")).next().await.unwrap();
        let tool = remote.execute(missing[1], Map::new()).await.unwrap_err();
        for (error, code, known) in [
            (call, "AGENT_NOT_FOUND", agents),
            (stream.unwrap_err(), "AGENT_NOT_FOUND", agents),
            (tool, "TOOL_NOT_FOUND", tools),
        ] {
            let error = error.remote().unwrap();
            assert_eq!(error.code.as_str(), code);
            let expected = agentwire::Value::from(known.to_vec());
            assert_eq!(error.details.get("available"), Some(&expected));
            for hidden in ["clock", "weather", "forecast"] {
                let is_shown = error.message.contains(hidden);
                assert_eq!(is_shown, known.contains(&hidden), "{}", error.message);
            }
        }
    }
}

/// A slow authenticator, such as one that queries a service.
struct Slow;

impl Authenticate for Slow {
    async fn request(
        &self,
        _: &Peer,
        credential: &Credential,
    ) -> Result<Option<Principal>, Denied> {
        tokio::task::yield_now().await;
        let is_known = credential.secret() == token("alice");
        Ok(is_known.then(alice))
    }
}

#[tokio::test]
async fn an_authenticator_may_take_its_time() {
    for endpoint in endpoints("slow") {
        let server = serve(Security::new().authenticate(Slow), &endpoint).await;
        let remote = client(&server)
            .credentials(bearer("alice"))
            .build()
            .unwrap();
        let reply = remote.process(Message::user("?")).await;
        let reply = reply.unwrap_or_else(|error| panic!("{endpoint}: {error}"));
        let principal = reply
            .content
            .get("principal")
            .and_then(|name| name.as_str());
        assert_eq!(principal, Some("alice"), "{endpoint}");
        let clock = RemoteAgent::builder(server.endpoint()).name("clock");
        let clock = clock.credentials(bearer("alice")).build().unwrap();
        let mut chunks = clock.stream(Message::user("?"));
        chunks.next().await.unwrap().unwrap();
        assert!(chunks.next().await.is_none(), "{endpoint}");
        let wrong = client(&server)
            .credentials(bearer("mallory"))
            .build()
            .unwrap();
        let error = wrong.process(Message::user("?")).await.unwrap_err();
        assert_eq!(error.code().as_str(), "UNAUTHENTICATED", "{endpoint}");
        let refused = wrong.stream(Message::user("?")).next().await.unwrap();
        let error = refused.unwrap_err();
        assert_eq!(error.code().as_str(), "UNAUTHENTICATED", "{endpoint}");
    }
}

#[tokio::test]
async fn a_forged_user_reaches_no_agent_over_any_carrier() {
    for endpoint in endpoints("forged-carriers") {
        let security = Security::new().authenticate(tokens([alice()]));
        let server = serve(security, &endpoint).await;
        let forged = || {
            let message = Message::user("?").with_metadata("kept", "1");
            let message = message.with_metadata("Authenticated_User", "root");
            message.with_metadata("authenticated_user", map! {"user_id": "root"})
        };
        for name in ["weather", "clock"] {
            let remote = RemoteAgent::builder(server.endpoint()).name(name);
            let remote = remote.credentials(bearer("alice")).build().unwrap();
            let reply = match name {
                "weather" => remote.process(forged()).await.unwrap(),
                _ => remote.stream(forged()).next().await.unwrap().unwrap(),
            };
            // Agents see neither the forged user nor the credential.
            assert_eq!(
                reply.content,
                agentwire::Value::from(map! {
                    "principal": "alice", "metadata": (map! {"kept": "1"})
                }),
                "{endpoint} {name}"
            );
        }
    }
}

/// An authenticator that counts how often it is asked about a connection and about a credential.
#[derive(Clone, Default)]
struct Counting {
    connections: Arc<AtomicUsize>,
    /// Whether credentials have expired.
    has_expired: Arc<AtomicBool>,
}

impl Authenticate for Counting {
    async fn connection(&self, _: &Peer) -> Result<Option<Principal>, Denied> {
        self.connections.fetch_add(1, Relaxed);
        Ok(Some(alice()))
    }

    async fn request(&self, _: &Peer, _: &Credential) -> Result<Option<Principal>, Denied> {
        Ok((!self.has_expired.load(Relaxed)).then(alice))
    }
}

#[tokio::test]
async fn a_connection_is_authenticated_and_recorded_once() {
    for endpoint in endpoints("once") {
        let (counting, events) = (Counting::default(), Events::default());
        let security = Security::new().authenticate(counting.clone());
        let server = serve(security.audit(events.clone()), &endpoint).await;
        let remote = client(&server).build().unwrap();
        for _ in 0..5 {
            remote.process(Message::user("?")).await.unwrap();
        }
        assert_eq!(counting.connections.load(Relaxed), 1, "{endpoint}");
        let kinds: Vec<_> = events.take().iter().map(|event| event.kind).collect();
        let count = |kind| kinds.iter().filter(|found| **found == kind).count();
        assert_eq!(count(AuditKind::Authentication), 1, "{endpoint}");
        assert_eq!(count(AuditKind::Authorization), 5, "{endpoint}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_after_its_credential_has_expired_even_if_it_is_silent() {
    for pause in [10, 1_000_000] {
        let endless = stream_fn("endless", move |message: Message, _: RequestContext| {
            stream::unfold((message, 0), move |(message, sent)| async move {
                let seconds = if sent < 20 { 10 } else { pause };
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Some((Ok(message.clone()), (message, sent + 1)))
            })
        });
        let (counting, events) = (Counting::default(), Events::default());
        let server = LocalAgent::builder(endless)
            .endpoint(format!("memory://auth-expired-{pause}"))
            .security(
                Security::new()
                    .authenticate(counting.clone())
                    .audit(events.clone()),
            )
            .serve()
            .await
            .unwrap();
        let remote = RemoteAgent::builder(server.endpoint()).credentials(bearer("alice"));
        let remote = remote.timeout(Duration::from_secs(3600)).build().unwrap();
        let mut chunks = remote.stream(Message::user("?"));
        for _ in 0..20 {
            chunks.next().await.unwrap().unwrap();
        }
        counting.has_expired.store(true, Relaxed);
        let expired = tokio::time::Instant::now();
        let error = loop {
            if let Err(error) = chunks.next().await.unwrap() {
                break error;
            }
        };
        assert_eq!(error.code().as_str(), "UNAUTHENTICATED");
        assert!(expired.elapsed() <= Duration::from_secs(70), "{pause}");
        assert_eq!(
            events.denied(AuditKind::Authentication),
            ["unknown credential"]
        );
    }
}
