//! The memory that a registry takes, and its limit.
//!
//! The allocator counts for the whole process, so this is a single test in a binary of its own.

#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use agentwire_codec::Value;
use agentwire_registry::{
    LimitKind, LocalRegistry, Registration, Registry, RegistryConfig, RegistryError,
};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

#[tokio::test]
async fn a_full_registry_uses_its_memory_limit_and_not_much_more() {
    let nested = (0..60).fold("0".to_owned(), |inner, _| format!(r#"{{"a": {inner}}}"#));
    let many = |one: &dyn Fn(usize) -> String, count: usize| {
        let entries: Vec<_> = (0..count).map(one).collect();
        entries.join(", ")
    };
    for (kind, metadata) in [
        ("nothing", "{}".to_owned()),
        (
            "numbers",
            format!(r#"{{"x": [{}]}}"#, many(&|_| "0".to_owned(), 20_000)),
        ),
        (
            "lists",
            format!(r#"{{"x": [{}]}}"#, many(&|_| "[[0]]".to_owned(), 5000)),
        ),
        ("text", format!(r#"{{"x": "{}"}}"#, "x".repeat(60_000))),
        (
            "short texts",
            format!(r#"{{"x": [{}]}}"#, many(&|_| r#""x""#.to_owned(), 10_000)),
        ),
        (
            "a wide map",
            format!("{{{}}}", many(&|n| format!(r#""{n}": {n}"#), 3000)),
        ),
        (
            "small maps",
            format!(
                r#"{{"x": [{}]}}"#,
                many(&|_| r#"{"a": 0}"#.to_owned(), 5000)
            ),
        ),
        ("a deep map", nested),
    ] {
        let config = RegistryConfig::new().max_total_size(LIMIT);
        let before = ALLOCATOR.current_usage();
        let registry = LocalRegistry::with_config(config).unwrap();
        let mut refused = None;
        for number in 0..100_000 {
            let endpoint = format!("unix:///run/agents/{number}.sock").parse().unwrap();
            let mut registration = Registration::new(format!("agent {number}"), endpoint);
            registration.metadata = metadata.parse::<Value>().unwrap().as_map().unwrap().clone();
            if let Err(error) = registry.register(registration).await {
                refused = Some(error);
                break;
            }
        }
        let of = LimitKind::Bytes;
        assert!(
            matches!(refused, Some(RegistryError::Full { max: LIMIT, of: what }) if what == of),
            "{kind}: {refused:?}"
        );
        let taken = (ALLOCATOR.current_usage() - before) as f64 / LIMIT as f64;
        println!("{kind}: {taken:.2} of the limit");
        assert!(
            (0.5..1.1).contains(&taken),
            "{kind}: {taken:.2} of the limit"
        );
    }
}

const LIMIT: usize = 8 * 1024 * 1024;
