//! The crates depend on each other in one direction only.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

#[test]
fn dependencies_point_downwards_only() {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages: BTreeMap<&str, BTreeSet<&str>> = metadata["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            let names = package["dependencies"].as_array().unwrap().iter();
            let names = names.map(|dependency| dependency["name"].as_str().unwrap());
            let ours = names.filter(|name| name.starts_with("agentwire")).collect();
            (package["name"].as_str().unwrap(), ours)
        })
        .collect();
    for (package, allowed) in ALLOWED {
        let found = &packages[package];
        let forbidden: Vec<_> = found
            .iter()
            .filter(|name| !allowed.contains(name))
            .collect();
        assert!(forbidden.is_empty(), "{package} must not use {forbidden:?}");
    }
}

/// What each crate may use of the others, tests included.
const ALLOWED: [(&str, &[&str]); 6] = [
    ("agentwire-text", &[]),
    ("agentwire-transport", &["agentwire-text"]),
    ("agentwire-codec", &["agentwire-text"]),
    ("agentwire-proto", &["agentwire-codec"]),
    (
        "agentwire-registry",
        &["agentwire-transport", "agentwire-codec"],
    ),
    (
        "agentwire",
        &[
            "agentwire-transport",
            "agentwire-codec",
            "agentwire-proto",
            "agentwire-registry",
        ],
    ),
];
