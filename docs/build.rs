//! Turns each Rust block of the documents into a module: programs into `programs.rs`, and tests into
//! `tests.rs`.

#[allow(dead_code, unreachable_pub, reason = "the tests use the rest")]
#[path = "src/document.rs"]
mod document;

use std::{env, fmt::Write as _, fs, io, path::Path};

use document::{Document, Kind};

fn main() -> io::Result<()> {
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    let (mut programs, mut tests, mut arms) = (String::new(), String::new(), String::new());
    for document in Document::all()? {
        println!("cargo::rerun-if-changed={}", document.path.display());
        for (index, block) in document.blocks.iter().enumerate() {
            let module = format!("{}_{index}", document.module());
            let text = format!("mod {module} {{\n{}\n", block.code());
            match block.kind {
                Kind::Program => {
                    programs += &text;
                    programs += "pub(super) fn run() -> std::process::ExitCode {\n\
                                 std::process::Termination::report(main())\n}\n}\n";
                    let _ = writeln!(arms, "\"{}:{index}\" => {module}::run(),", document.name);
                }
                Kind::Test => tests += &(text + "}\n"),
                Kind::Other => {}
            }
        }
    }
    let _ = write!(
        programs,
        "fn run(name: &str) -> ExitCode {{\nmatch name {{\n{arms}\
         other => panic!(\"no program {{other}}\"),\n}}\n}}\n"
    );
    println!("cargo::rerun-if-changed=guide/src");
    fs::write(Path::new(&out).join("programs.rs"), programs)?;
    fs::write(Path::new(&out).join("tests.rs"), tests)
}
