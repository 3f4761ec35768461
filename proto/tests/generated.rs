//! The committed code and the committed descriptor set match `agenkit.proto`. No `protoc` is needed.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests may panic")]

use std::{env, fs, path::Path};

use protox::prost::Message;

/// With `AGENTWIRE_GENERATE=1`, this test writes the files instead of comparing them.
#[test]
fn the_generated_files_match_the_definition() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let descriptors =
        protox::compile(["agenkit.proto"], [package]).expect("the definition is valid");
    let out = env::temp_dir().join(format!("agentwire-proto-{}", std::process::id()));
    fs::create_dir_all(&out).unwrap();
    prost_build::Config::new()
        .btree_map(["."])
        .skip_debug(MESSAGES.map(|name| format!(".agenkit.{name}")))
        .out_dir(&out)
        .compile_fds(descriptors.clone())
        .unwrap();
    let code = fs::read(out.join("agenkit.rs")).unwrap();
    fs::remove_dir_all(&out).unwrap();

    let committed = package.join("src/generated");
    for (name, generated) in [
        ("agenkit.rs", code),
        ("agenkit.bin", descriptors.encode_to_vec()),
    ] {
        let file = committed.join(name);
        if env::var_os("AGENTWIRE_GENERATE").is_some() {
            fs::write(&file, &generated).unwrap();
        }
        assert!(
            fs::read(&file).unwrap() == generated,
            "{name} is out of date: AGENTWIRE_GENERATE=1 cargo test -p agentwire-proto --test generated"
        );
    }
}

/// The messages, whose `{:?}` output must not show their content.
const MESSAGES: [&str; 7] = [
    "Request",
    "Response",
    "StreamChunk",
    "Message",
    "ToolCall",
    "ToolResult",
    "Error",
];
