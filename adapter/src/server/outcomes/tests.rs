//! Requests with keys at a service that answers as a test tells it.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Weak,
};

use agentwire_codec::{Call, Message, Response};
use agentwire_transport::{Peer, internal::Mutex};
use futures_util::{FutureExt, StreamExt, stream};

use super::*;
use crate::Principal;

/// A service that answers each request with the next of these answers.
#[derive(Default)]
struct Scripted {
    answers: Mutex<VecDeque<Answer>>,
    /// Starts a request before it returns from the start of the first one.
    repeats: Mutex<Option<(Weak<dyn Service>, Body)>>,
    repetition: Mutex<Option<BoxStream<'static, Body>>>,
}

enum Answer {
    Refused(WireError),
    One(Body),
    Panic,
    Many(Vec<Body>),
    Never,
}

impl Service for Scripted {
    fn start(&self, id: &RequestId, _: Body, caller: &Caller) -> Result<Work, WireError> {
        let repeats = self.repeats.lock().take();
        if let Some((outcomes, body)) = repeats {
            let work = outcomes.upgrade().unwrap().start(id, body, caller);
            *self.repetition.lock() = Some(answers_of(work));
        }
        let answer = self.answers.lock().pop_front();
        match answer.expect("an answer is left") {
            Answer::Refused(error) => Err(error),
            Answer::One(body) => Ok(Work::One(std::future::ready(body).boxed())),
            Answer::Panic => panic!("scripted"),
            Answer::Never => Ok(Work::One(std::future::pending().boxed())),
            Answer::Many(bodies) => Ok(Work::Many(stream::iter(bodies).boxed())),
        }
    }
}

fn outcomes(answers: impl IntoIterator<Item = Answer>) -> (Arc<Scripted>, Arc<dyn Service>) {
    let scripted = Arc::new(Scripted {
        answers: Mutex::new(answers.into_iter().collect()),
        ..Scripted::default()
    });
    let limits = OutcomeLimits {
        window: Duration::from_secs(60),
        bytes: 1 << 20,
    };
    let (tasks, shutdown) = (TaskTracker::new(), Shutdown::default());
    let service: Arc<dyn Service> = Arc::clone(&scripted) as _;
    let shared = SharedOutcomes::default();
    let outcomes = Outcomes::keep(service, limits, MEMORY, shared, tasks, shutdown);
    (scripted, outcomes)
}

fn call(key: &str, content: &str) -> Call {
    let mut call = Call::new("agent", Message::user(content));
    call.delivery.idempotency_key = Some(key.to_owned());
    call
}

fn process(key: &str) -> Body {
    Body::Request(Request::Process(call(key, "hello")))
}

fn streaming(key: &str) -> Body {
    Body::Request(Request::Stream(call(key, "hello")))
}

/// The memory of requests in flight.
const MEMORY: usize = 1 << 20;

fn caller(name: &str) -> Caller {
    let mut caller = Caller::new(Peer::from("a test"));
    caller.principal = Some(Principal::new(name));
    caller
}

/// Returns the answers to a request, of which a refusal is the only one.
fn answers_of(work: Result<Work, WireError>) -> BoxStream<'static, Body> {
    match work {
        Ok(Work::One(answer)) => stream::once(answer).boxed(),
        Ok(Work::Many(answers)) => answers,
        Err(error) => stream::once(std::future::ready(Body::Error(error))).boxed(),
    }
}

fn start(outcomes: &Arc<dyn Service>, body: Body) -> BoxStream<'static, Body> {
    answers_of(outcomes.start(&RequestId::random(), body, &caller("ann")))
}

/// Returns all answers to a request.
async fn all(outcomes: &Arc<dyn Service>, body: Body) -> Vec<Body> {
    read(start(outcomes, body)).await
}

async fn read(answers: BoxStream<'static, Body>) -> Vec<Body> {
    let read = tokio::time::timeout(Duration::from_secs(3600), answers.collect());
    read.await.expect("the answers end")
}

fn chunk(text: impl Into<String>) -> Body {
    Body::StreamChunk(Message::agent(text.into()))
}

fn error(code: ErrorCode) -> WireError {
    WireError::new(code, "scripted")
}

fn code(answers: &[Body]) -> Option<&ErrorCode> {
    match answers {
        [Body::Error(error)] => Some(&error.code),
        _ => None,
    }
}

fn is_replay(answer: &Body) -> bool {
    match answer {
        Body::StreamChunk(message) | Body::Response(Response::Message(message)) => {
            message.metadata.contains_key("idempotent_replay")
        }
        Body::Error(error) => error.details.contains_key("idempotent_replay"),
        _ => false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_taken_over_before_its_start_fails_ends_and_frees_its_key_once() {
    let good = || Answer::Many(vec![chunk("good"), Body::StreamEnd]);
    let refused = Answer::Refused(error(ErrorCode::AGENT_NOT_FOUND));
    let (scripted, outcomes) = outcomes([refused, good(), good()]);
    let repeats = (Arc::downgrade(&outcomes), streaming("key"));
    *scripted.repeats.lock() = Some(repeats);
    let first = all(&outcomes, streaming("key")).await;
    assert_eq!(code(&first), Some(&ErrorCode::AGENT_NOT_FOUND));
    let mut repetition = scripted.repetition.lock().take().unwrap();

    // The key is free, and the answers that it gets now are its outcome.
    let second = all(&outcomes, streaming("key")).await;
    assert_eq!(second.len(), 2);

    let ended = repetition.next().now_or_never().flatten();
    let ended = ended.expect("the repetition has ended, too");
    assert_eq!(
        code(std::slice::from_ref(&ended)),
        Some(&ErrorCode::AGENT_NOT_FOUND)
    );
    drop(repetition);
    sleep(2 * TAKEOVER).await;
    let third = all(&outcomes, streaming("key")).await;
    assert!(is_replay(&third[0]), "{third:?}");
    assert_eq!(all(&outcomes, streaming("other")).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_repetition_that_leaves_after_a_failed_start_does_not_free_the_key_of_a_later_request() {
    let good = || Answer::Many(vec![chunk("good"), Body::StreamEnd]);
    let refused = Answer::Refused(error(ErrorCode::AGENT_NOT_FOUND));
    let (scripted, outcomes) = outcomes([refused, good(), good()]);
    let repeats = (Arc::downgrade(&outcomes), streaming("key"));
    *scripted.repeats.lock() = Some(repeats);
    all(&outcomes, streaming("key")).await;
    let repetition = scripted.repetition.lock().take().unwrap();
    all(&outcomes, streaming("key")).await;
    // The repetition leaves without a look at its answers.
    drop(repetition);
    sleep(2 * TAKEOVER).await;
    let again = all(&outcomes, streaming("key")).await;
    assert!(is_replay(&again[0]), "{again:?}");
    assert_eq!(all(&outcomes, streaming("other")).await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_taken_over_before_it_starts_has_one_reader() {
    // More than is kept for a repetition.
    let mut chunks: Vec<_> = (0..8).map(|_| chunk("x".repeat(4096))).collect();
    chunks.push(Body::StreamEnd);
    let (scripted, outcomes) = outcomes([Answer::Many(chunks)]);
    let repeats = (Arc::downgrade(&outcomes), streaming("key"));
    *scripted.repeats.lock() = Some(repeats);
    let first = all(&outcomes, streaming("key")).await;
    assert_eq!(code(&first), Some(&ErrorCode::INVALID_MESSAGE), "{first:?}");
    let repetition = scripted.repetition.lock().take().unwrap();
    let repeated = read(repetition).await;
    assert_eq!(repeated.len(), 9);
    assert!(is_replay(&repeated[0]));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_the_rate_is_no_outcome() {
    for refusal in [ErrorCode::RATE_LIMITED, ErrorCode::AGENT_UNAVAILABLE] {
        let limited = || Body::Error(error(refusal.clone()));
        let done = || Body::Response(Response::Message(Message::agent("done")));
        let answers = [
            Answer::One(limited()),
            Answer::One(done()),
            Answer::Many(vec![limited()]),
            Answer::Many(vec![chunk("done"), Body::StreamEnd]),
        ];
        let (_, outcomes) = outcomes(answers);
        for (body, length) in [(process("call"), 1), (streaming("stream"), 2)] {
            let first = all(&outcomes, body.clone()).await;
            assert_eq!(code(&first), Some(&refusal));
            let second = all(&outcomes, body.clone()).await;
            assert_eq!((second.len(), code(&second)), (length, None));
            assert!(!is_replay(&second[0]));
            assert!(is_replay(&all(&outcomes, body).await[0]));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_repeated_before_its_start_fails_gets_the_same_error() {
    let refused = Answer::Refused(error(ErrorCode::AGENT_NOT_FOUND));
    let (scripted, outcomes) = outcomes([refused]);
    let repeats = (Arc::downgrade(&outcomes), process("key"));
    *scripted.repeats.lock() = Some(repeats);
    let first = all(&outcomes, process("key")).await;
    assert_eq!(code(&first), Some(&ErrorCode::AGENT_NOT_FOUND));
    let repetition = scripted.repetition.lock().take().unwrap();
    let repeated = read(repetition).await;
    assert_eq!(code(&repeated), Some(&ErrorCode::AGENT_NOT_FOUND));
}

#[tokio::test(start_paused = true)]
async fn a_start_that_panics_frees_its_key_and_ends_its_repetition() {
    for body in [process("key"), streaming("key")] {
        let good = Answer::Many(vec![Body::StreamEnd]);
        let (scripted, outcomes) = outcomes([Answer::Panic, good]);
        let repeats = (Arc::downgrade(&outcomes), body.clone());
        *scripted.repeats.lock() = Some(repeats);
        let started = catch_unwind(AssertUnwindSafe(|| start(&outcomes, body.clone())));
        assert!(started.is_err());
        let repetition = scripted.repetition.lock().take().unwrap();
        let repeated = read(repetition).await;
        assert_eq!(code(&repeated), Some(&ErrorCode::INTERNAL_ERROR));
        assert_eq!(all(&outcomes, body).await, [Body::StreamEnd]);
    }
}

#[tokio::test]
async fn requests_whose_callers_have_left_use_bounded_memory() {
    let (_, outcomes) = outcomes((0..100).map(|_| Answer::Never));
    let content = "x".repeat(MEMORY / 8);
    let send = |name: &str, key: usize| {
        let body = Body::Request(Request::Process(call(&key.to_string(), &content)));
        outcomes.start(&RequestId::random(), body, &caller(name))
    };
    // Each caller leaves at once.
    let mut left = 0;
    let refused = loop {
        match send("mallory", left) {
            Ok(work) => drop(work),
            Err(error) => break error,
        }
        left += 1;
    };
    assert_eq!(refused.code, ErrorCode::AGENT_UNAVAILABLE);
    assert_eq!(refused.details["reason"], "memory");
    assert_eq!(left, 3, "they use somewhat more than an eighth each");
    assert!(send("ann", 0).is_ok());
}

#[cfg(feature = "redis")]
#[test]
fn servers_that_share_outcomes_tell_all_owners_apart() {
    let named = |name: &str, namespace: Option<&str>| {
        let principal = Principal::new(name);
        Some(match namespace {
            Some(namespace) => principal.with_namespace(namespace),
            None => principal,
        })
    };
    let owners = [
        (None, "deploy:42"),
        (named("ci", None), "deploy:42"),
        (named("ci:deploy", None), "42"),
        (named("ci", Some("")), "deploy:42"),
        (named("ci", Some("prod")), "deploy:42"),
        (named("", Some("prod")), "ci:deploy:42"),
    ];
    let texts = owners.map(|(principal, key)| {
        let mut caller = caller("");
        caller.principal = principal;
        shared::text_of(&Key::of(&process(key), &caller).unwrap())
    });
    let distinct: std::collections::BTreeSet<_> = texts.iter().collect();
    assert_eq!(distinct.len(), texts.len(), "{texts:?}");
}
