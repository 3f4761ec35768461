//! The committed code and the committed descriptors match the definitions. No `protoc` is needed.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests may panic")]

use std::{collections::BTreeMap, env, fs, path::Path};

use protox::prost::Message;

/// With `AGENTWIRE_GENERATE=1`, this test writes the files instead of comparing them.
#[test]
fn the_generated_files_match_the_definitions() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let definitions = package.join("definitions");
    let names = agentwire_proto::SERVICES.map(|service| service.file);
    let descriptors = protox::compile(names, [definitions]).expect("the definitions are valid");
    let mut files = BTreeMap::new();
    for file in &descriptors.file {
        let name = format!("{}.bin", file.package());
        // Comments are in the definition; clients of reflection do not show them.
        let mut file = file.clone();
        file.source_code_info = None;
        files.insert(name, file.encode_to_vec());
    }
    let out = env::temp_dir().join(format!("agentwire-proto-{}", std::process::id()));
    fs::create_dir_all(&out).unwrap();
    prost_build::Config::new()
        .btree_map(["."])
        .skip_debug(MESSAGES.map(|name| format!(".agenkit.{name}")))
        .out_dir(&out)
        .compile_fds(descriptors)
        .unwrap();
    for file in fs::read_dir(&out).unwrap() {
        let file = file.unwrap();
        let code = fs::read(file.path()).unwrap();
        files.insert(file.file_name().into_string().unwrap(), code);
    }
    fs::remove_dir_all(&out).unwrap();

    assert_eq!(files.len(), 6, "{:?}", files.keys());
    for (name, generated) in files {
        let file = package.join("src/generated").join(&name);
        if env::var_os("AGENTWIRE_GENERATE").is_some() {
            fs::write(&file, &generated).unwrap();
        }
        assert!(
            fs::read(&file).unwrap() == generated,
            "{name} is out of date: AGENTWIRE_GENERATE=1 cargo test -p agentwire-proto --test generated"
        );
    }
}

#[test]
fn reflection_knows_all_symbols_of_the_descriptors() {
    for service in agentwire_proto::SERVICES {
        let file =
            protox::prost_reflect::prost_types::FileDescriptorProto::decode(service.descriptor);
        let file = file.unwrap();
        let package = file.package().to_owned();
        let mut symbols: Vec<String> = Vec::new();
        for service in &file.service {
            let name = format!("{package}.{}", service.name());
            symbols.extend(
                service
                    .method
                    .iter()
                    .map(|method| format!("{name}.{}", method.name())),
            );
            symbols.push(name);
        }
        symbols.extend(
            file.message_type
                .iter()
                .map(|message| format!("{package}.{}", message.name())),
        );
        symbols.extend(
            file.enum_type
                .iter()
                .map(|kind| format!("{package}.{}", kind.name())),
        );
        assert!(symbols.len() > 2);
        for symbol in symbols {
            assert!(service.defines(&symbol), "{symbol}");
        }
        assert!(!service.defines(&format!("{package}.Nothing")));
        assert_eq!(file.name(), service.file);
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
