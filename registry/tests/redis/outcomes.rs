//! Outcomes that several servers share.

use std::time::Duration;

use agentwire_registry::{OutcomeClaim, RedisOutcomes};

use super::{RedisServer, until, within};

const LEASE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_key_is_claimed_once_and_has_the_stored_outcome() {
    let server = RedisServer::start().await;
    let (here, there) = (
        RedisOutcomes::new(&server.url()).unwrap(),
        RedisOutcomes::new(&server.url()).unwrap(),
    );
    let claim = async |outcomes: &RedisOutcomes, token, fingerprint| {
        within(outcomes.claim("key", token, fingerprint, LEASE))
            .await
            .unwrap()
    };
    assert_eq!(claim(&here, "a", 1).await, OutcomeClaim::First);
    // The script may have run, and its answer may have been lost.
    assert_eq!(claim(&here, "a", 1).await, OutcomeClaim::First);
    assert_eq!(claim(&there, "b", 1).await, OutcomeClaim::Running);
    assert_eq!(claim(&there, "b", 2).await, OutcomeClaim::Conflict);
    assert!(!within(there.renew("key", "b", LEASE)).await.unwrap());
    assert!(within(here.renew("key", "a", LEASE)).await.unwrap());
    assert!(
        !within(there.finish("key", "b", b"no", LEASE))
            .await
            .unwrap()
    );
    assert!(
        within(here.finish("key", "a", b"\0yes", LEASE))
            .await
            .unwrap()
    );
    let done = OutcomeClaim::Done(b"\0yes".to_vec());
    assert_eq!(claim(&there, "b", 1).await, done);
    assert_eq!(claim(&there, "b", 2).await, OutcomeClaim::Conflict);
}

#[tokio::test]
async fn claims_that_are_released_or_expire_can_be_made_again() {
    let server = RedisServer::start().await;
    let outcomes = RedisOutcomes::new(&format!("{}?namespace=blue:", server.url())).unwrap();
    let short = Duration::from_millis(20);
    let first = within(outcomes.claim("short", "a", 1, short)).await;
    assert_eq!(first.unwrap(), OutcomeClaim::First);
    until(|| async {
        let again = Box::pin(outcomes.claim("short", "b", 1, LEASE)).await;
        (again.unwrap() == OutcomeClaim::First).then_some(())
    })
    .await;
    within(outcomes.release("short", "a")).await.unwrap();
    let running = within(outcomes.claim("short", "c", 1, LEASE)).await;
    assert_eq!(running.unwrap(), OutcomeClaim::Running);
    within(outcomes.release("short", "b")).await.unwrap();
    let again = within(outcomes.claim("short", "c", 1, LEASE)).await;
    assert_eq!(again.unwrap(), OutcomeClaim::First);
    let keys: Vec<String> = server.command(&["KEYS", "*"]).await;
    assert_eq!(keys, ["blue:outcome:short"]);
}
