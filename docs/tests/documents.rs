//! Runs the documents: each one is a session in a shell, from its first block to its last.
//!
//! A document becomes one script. Shell blocks are part of the script as they are. A block whose
//! paragraph names a file, as in "Put this into `src/main.rs`:", is written to that file. Other
//! programs run at their place. A `text` block is what the block before it prints, where `…` stands
//! for any text. Configuration is parsed. There is no block that does not run.
//!
//! In the session, `cargo` is a script that knows the commands of the documents: `cargo run` starts
//! the compiled block, `cargo add --git` uses this repository, and `cargo install` only checks that
//! the package exists. All other programs are the real ones.
//!
//! Documents name ports and sockets in `/tmp`, which a reader can paste. On Linux, each session has a
//! network and a `/tmp` of its own. These ports and sockets are free there, whatever other test runs do
//! and have left behind, and its processes end with it. On other systems, test runs take turns.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::{
    env,
    fmt::Write as _,
    fs,
    io::{Write as _, stderr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use agentwire_docs::document::{Block, Document, Kind};
use rustix::fs::{FlockOperation, flock};

#[test]
fn every_block_of_every_document_runs() {
    let session = Session::new();
    let _turn = (!session.is_separate).then(turn);
    let mut failures = Vec::new();
    for document in Document::all().unwrap() {
        let imports = |block: &Block| block.text.contains("from agenkit");
        if document.blocks.iter().any(imports) && !has_agenkit() {
            // As eprintln!, but not captured.
            let _ = writeln!(
                stderr(),
                "NOT RUN: {}, because agenkit is missing",
                document.name
            );
            continue;
        }
        match session.run(&document) {
            Ok(()) => println!("{}: {} blocks", document.name, document.blocks.len()),
            Err(failure) => failures.push(failure),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn the_summary_lists_every_chapter() {
    let guide = repository().join("docs/guide/src");
    let summary = fs::read_to_string(guide.join("SUMMARY.md")).unwrap();
    for document in Document::all().unwrap().iter().skip(1) {
        let is_listed = summary.contains(&format!("({})", document.name));
        assert!(
            is_listed || document.name == "SUMMARY.md",
            "{}",
            document.name
        );
    }
    for link in summary.split("](").skip(1) {
        let file = link.split(')').next().unwrap();
        assert!(guide.join(file).exists(), "{file}");
    }
}

/// A block after a link to a file of docs/deploy is that file.
#[test]
fn blocks_are_the_files_that_they_link() {
    let mut count = 0;
    for document in Document::all().unwrap() {
        for block in &document.blocks {
            let Some((_, link)) = block.lead.rsplit_once("/docs/deploy/") else {
                continue;
            };
            let name = link.split(')').next().unwrap();
            let file = fs::read_to_string(repository().join("docs/deploy").join(name)).unwrap();
            assert_eq!(block.text.trim_end(), file.trim_end(), "{name}");
            count += 1;
        }
    }
    assert_eq!(
        count,
        fs::read_dir(repository().join("docs/deploy"))
            .unwrap()
            .count()
    );
}

/// Every file that a chapter includes exists.
#[test]
fn included_files_exist() {
    for document in Document::all().unwrap() {
        let text = fs::read_to_string(&document.path).unwrap();
        for include in text.split("{{#include ").skip(1) {
            let file = include.split([':', '}']).next().unwrap();
            let path = document.path.parent().unwrap().join(file);
            assert!(path.exists(), "{}: {file}", document.name);
        }
    }
}

/// Each error text in the chapter on troubleshooting occurs in the source.
#[test]
fn the_texts_of_errors_occur_in_the_source() {
    let mut source = String::new();
    for folder in ["adapter", "transport", "codec", "registry", "cli"] {
        read_sources(&repository().join(folder).join("src"), &mut source);
    }
    let source = on_one_line(&source);
    let mut lists_texts = false;
    for row in troubleshooting().lines() {
        if !row.starts_with("| `") {
            lists_texts = row.starts_with("| text |") || lists_texts && row.starts_with("|---");
        } else if lists_texts {
            let cell = row.split(" | ").next().unwrap();
            for text in cell.split('`').skip(1).step_by(2) {
                for part in text.split('…').map(str::trim) {
                    assert!(source.contains(part), "{part:?} occurs in no source file");
                }
            }
        }
    }
}

/// The chapter on troubleshooting has each error text of the library.
#[test]
fn the_chapter_on_troubleshooting_has_each_error_text() {
    let mut source = String::new();
    for folder in ["adapter", "transport", "registry"] {
        read_sources(&repository().join(folder).join("src/error"), &mut source);
    }
    let files = [
        "codec/src/error.rs",
        "adapter/src/server/carrier/frames/close_reason.rs",
    ];
    for file in files {
        source += &fs::read_to_string(repository().join(file)).unwrap();
    }
    let chapter = troubleshooting();
    let mut missing = Vec::new();
    for text in error_texts(&on_one_line(&source)) {
        let parts = text.split(['{', '}', '`']).step_by(2);
        let longest = parts.max_by_key(|part| part.len()).unwrap_or_default();
        let longest = longest.trim_matches([' ', ':', ';', ',', '(', ')', '\'']);
        let is_sentence = longest.contains(' ') && longest.len() > "must be".len();
        if is_sentence && !longest.starts_with('\\') && !chapter.contains(longest) {
            missing.push(longest.to_owned());
        }
    }
    assert!(
        missing.is_empty(),
        "docs/guide/src/troubleshooting.md has no row for {missing:#?}"
    );
}

/// Joins the lines of a source, and of the texts in it.
fn on_one_line(source: &str) -> String {
    let source = source.replace("\\\n", " ");
    let words: Vec<_> = source.split_whitespace().collect();
    words.join(" ")
}

fn troubleshooting() -> String {
    fs::read_to_string(repository().join("docs/guide/src/troubleshooting.md")).unwrap()
}

/// Returns the formats of all errors: the first text after `#[error(`, `write_str(` or `write!(`, and
/// each text after `=>`.
fn error_texts(source: &str) -> Vec<String> {
    let mut texts = Vec::new();
    for start in ["#[error(", "write_str(", "write!(f,", "write!(", "=>"] {
        for rest in source.split(start).skip(1) {
            let rest = rest.trim_start().trim_start_matches("f,").trim_start();
            let Some(rest) = rest.strip_prefix('"') else {
                continue;
            };
            let end = rest.find('"').unwrap_or(rest.len());
            texts.push(rest[..end].to_owned());
        }
    }
    texts
}

/// Each link of the API's documentation to the protocol names a section that exists.
#[test]
fn links_to_the_protocol_name_a_section() {
    let protocol = fs::read_to_string(repository().join("PROTOCOL.md")).unwrap();
    let headings = protocol.lines().filter_map(|line| line.strip_prefix("## "));
    let anchors: Vec<_> = headings
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    let mut source = String::new();
    for folder in ["adapter", "transport", "codec", "registry"] {
        read_sources(&repository().join(folder).join("src"), &mut source);
    }
    let mut count = 0;
    for link in source.split("PROTOCOL.md#").skip(1) {
        let anchor = link.split_whitespace().next().unwrap_or_default();
        assert!(anchors.iter().any(|it| it == anchor), "#{anchor}");
        count += 1;
    }
    assert!(count >= 50, "only {count} links");
}

/// The picture by scripts/picture shows the current output of the example.
#[test]
fn the_picture_shows_the_output_of_the_quickstart() {
    let target = Path::new(env!("CARGO_BIN_EXE_agentwire-docs-program")).parent();
    let quickstart = build_examples(target.unwrap());
    let output = Command::new(quickstart)
        .current_dir(repository())
        .env("PATH", Session::new().path())
        .output()
        .unwrap();
    let picture = fs::read_to_string(repository().join("docs/quickstart.svg")).unwrap();
    let rows = picture.lines().filter(|line| line.starts_with("<text "));
    let shown: Vec<_> = rows.skip(1).map(without_tags).collect();
    let printed = String::from_utf8(output.stdout).unwrap();
    let (shown, printed) = (shown.join("\n"), printed.trim());
    assert!(
        matches(&shown, printed),
        "run scripts/picture\nshown:\n{shown}\nprinted:\n{printed}"
    );
}

fn without_tags(row: &str) -> String {
    let parts = row.split('<').map(|part| part.split_once('>'));
    let text: String = parts.flatten().map(|(_, text)| text).collect();
    let text = text.replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&quot;", "\"").replace("&amp;", "&")
}

fn read_sources(folder: &Path, source: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, source);
        } else if path.extension().is_some_and(|it| it == "rs") {
            source.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// The programs that a session can use.
struct Session {
    bin: tempfile::TempDir,
    /// Whether each session has a network, a `/tmp` and processes of its own.
    is_separate: bool,
}

impl Session {
    fn new() -> Self {
        let programs = Path::new(env!("CARGO_BIN_EXE_agentwire-docs-program"));
        let target = programs.parent().unwrap();
        build(target, "agentwire", &["-p", "agentwire-cli"]);
        build_examples(target);
        let bin = tempfile::tempdir().unwrap();
        let script = |name: &str, text: String| {
            let path = bin.path().join(name);
            fs::write(&path, format!("#!/bin/bash\n{text}")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        };
        let agentwire = target.join("agentwire");
        script(
            "agentwire",
            format!("exec {:?} \"$@\"\n", agentwire.display()),
        );
        script("python3", format!("exec {:?} \"$@\"\n", python().display()));
        let cargo = CARGO
            .replace("@CARGO@", env!("CARGO"))
            .replace("@REPOSITORY@", &repository().display().to_string())
            .replace("@PROGRAMS@", &programs.display().to_string())
            .replace("@EXAMPLES@", &target.join("examples").display().to_string());
        script("cargo", cargo);
        let output = tempfile::tempdir().unwrap();
        let is_separate = separate().arg("true").env("STORY", output.path()).output();
        Self {
            bin,
            is_separate: is_separate.is_ok_and(|it| it.status.success()),
        }
    }

    /// Returns the shell that runs a session.
    fn shell(&self) -> Command {
        if !self.is_separate {
            return Command::new("bash");
        }
        let mut shell = separate();
        shell.arg("bash");
        shell
    }

    fn path(&self) -> String {
        let path = env::var("PATH").unwrap();
        format!("{}:{path}", self.bin.path().display())
    }

    /// Runs a document, and compares what its blocks print.
    fn run(&self, document: &Document) -> Result<(), String> {
        let directory = tempfile::tempdir().unwrap();
        let output = tempfile::tempdir().unwrap();
        let file = output.path().join("script");
        fs::write(&file, script(document, output.path())?).unwrap();
        let log = fs::File::create(output.path().join("log")).unwrap();
        let mut shell = self
            .shell()
            .arg(&file)
            .current_dir(directory.path())
            .env("PATH", self.path())
            .env("STORY", output.path())
            .env_remove("CARGO_TARGET_DIR")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let until = Instant::now() + LONGEST_SESSION;
        let status = loop {
            if let Some(status) = shell.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > until {
                let _ = shell.kill();
                break shell.wait().unwrap();
            }
            sleep(Duration::from_millis(20));
        };
        let read = |name: String| {
            let bytes = fs::read(output.path().join(name)).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        if !status.success() {
            let last = (0..document.blocks.len())
                .rev()
                .find(|index| output.path().join(format!("out.{index}")).exists());
            let (line, printed) = last.map_or((0, String::new()), |index| {
                (document.blocks[index].line, read(format!("out.{index}")))
            });
            let log = read("log".to_owned());
            let name = &document.name;
            return Err(format!(
                "{name}:{line}: {status}; printed:\n{printed}\n{log}"
            ));
        }
        for (index, block) in document.blocks.iter().enumerate() {
            if block.language != "text" {
                continue;
            }
            let before = index.checked_sub(1).map(|it| &document.blocks[it]);
            if before.is_none_or(|it| it.language == "text" || it.file().is_some()) {
                let Document { name, .. } = document;
                return Err(format!(
                    "{name}:{}: a text block follows no block that prints",
                    block.line
                ));
            }
            let printed = read(format!("out.{}", index - 1));
            if !matches(block.text.trim(), printed.trim()) {
                return Err(format!(
                    "{}:{}: expected:\n{}\nprinted:\n{printed}",
                    document.name, block.line, block.text
                ));
            }
        }
        Ok(())
    }
}

/// Returns a command that runs its arguments in a network with no interface but its own loopback, and
/// with a `/tmp` of its own below the directory `$STORY`. When it ends, so do all processes that it has
/// started.
fn separate() -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--net", "--mount"])
        .args(["--pid", "--fork", "--kill-child", "sh", "-c"])
        .args([SEPARATE, "sh"]);
    command
}

/// The new `/tmp` has the directories of the old one, because programs of the session can lie in them,
/// but no sockets.
const SEPARATE: &str = r#"
set -e
ip link set lo up
mkdir "$STORY/tmp"
for directory in /tmp/*/ /tmp/.[!.]*/; do
    [ -d "$directory" ] || continue
    mkdir "$STORY$directory"
    # Other programs remove their directories at any time.
    mount --bind "$directory" "$STORY$directory" 2>/dev/null || rmdir "$STORY$directory"
done
mount --rbind "$STORY/tmp" /tmp
exec "$@"
"#;

/// Waits until no other test run is in a session, and returns the lock of this one.
fn turn() -> fs::File {
    let path = env::temp_dir().join("agentwire-documents.lock");
    // A file of another user can be read only, which is enough for a lock.
    let file = fs::File::open(&path).or_else(|_| fs::File::create(&path));
    let file = file.unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    file
}

/// Returns the script that runs a document.
fn script(document: &Document, output: &Path) -> Result<String, String> {
    let mut script = String::from(
        "set -eu\nmkdir -p \"$STORY/bins\"\n\
         trap '{ kill $(jobs -p) && wait; } >/dev/null 2>&1 || :' EXIT\n",
    );
    let block_file = |index: usize| output.join(format!("block.{index}"));
    for (index, block) in document.blocks.iter().enumerate() {
        let Block { language, text, .. } = block;
        fs::write(block_file(index), format!("{text}\n")).unwrap();
        let saved = block_file(index);
        let saved = saved.display();
        let command = match (language.as_str(), block.kind, block.file()) {
            ("rust", Kind::Program, Some(file)) => {
                let stem = Path::new(file)
                    .file_stem()
                    .unwrap_or_default()
                    .to_string_lossy();
                format!(
                    "mkdir -p \"$(dirname {file})\" && cp {saved} {file} && echo {}:{index} >\"$STORY/bins/{}\"",
                    document.name, stem
                )
            }
            (_, _, Some(file)) => format!("cp {saved} {file}"),
            ("rust", Kind::Program, None) => {
                format!(
                    "{:?} {}:{index}",
                    env!("CARGO_BIN_EXE_agentwire-docs-program"),
                    document.name
                )
            }
            // These run as tests of this package.
            ("rust", Kind::Test, None) => ":".to_owned(),
            ("sh", _, None) if text.contains("kill ") => format!("{text}\nwait || :"),
            ("sh", _, None) => text.clone(),
            ("python", _, None) => format!("python3 {saved}"),
            (kind @ ("toml" | "yaml" | "ini" | "dockerfile"), _, None) => {
                let check = repository().join("docs/tests/check_config.py");
                format!("python3 {} {kind} {saved}", check.display())
            }
            ("json", _, None) => format!("python3 -m json.tool {saved}"),
            ("text", ..) => continue,
            _ => {
                return Err(format!(
                    "{}:{}: nothing runs a block of {language:?}",
                    document.name, block.line
                ));
            }
        };
        let _ = writeln!(script, "{{\n{command}\n}} >\"$STORY/out.{index}\" 2>&1");
    }
    Ok(script)
}

/// Returns true if the text is the pattern, in which `…` stands for any text.
fn matches(pattern: &str, mut text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    text = rest;
    let parts: Vec<_> = parts.collect();
    for (index, part) in parts.iter().enumerate() {
        if index + 1 == parts.len() {
            return text.ends_with(part);
        }
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.is_empty()
}

#[test]
fn three_dots_stand_for_any_text() {
    assert!(matches("a…c", "abbc"));
    assert!(matches("…", ""));
    assert!(matches("a…b…c", "a1b2c"));
    for text in ["", "ab", "c", "abcd"] {
        assert!(!matches("a…c", text), "{text}");
    }
    assert!(!matches("a", "ab"));
}

fn build_examples(target: &Path) -> PathBuf {
    let selection = ["-p", "agentwire-examples", "--examples"];
    build(target, "examples/quickstart", &selection);
    target.join("examples/quickstart")
}

/// Builds a program unless it is newer than its sources. `cargo test --workspace` has built it with
/// the features of the workspace, and another build would compile much again.
fn build(target: &Path, file: &str, selection: &[&str]) {
    if !is_fresh(&target.join(file)) {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--locked"])
            .args(selection)
            .current_dir(repository())
            .status();
        assert!(built.unwrap().success(), "{file} cannot be built");
    }
}

/// Compares a program with the sources that Cargo lists in the file `PROGRAM.d`.
fn is_fresh(program: &Path) -> bool {
    let changed = |file: &Path| fs::metadata(file).and_then(|it| it.modified());
    let Ok(built) = changed(program) else {
        return false;
    };
    let list = fs::read_to_string(program.with_extension("d")).unwrap_or_default();
    let mut sources = list.split_whitespace().skip(1).map(Path::new);
    !list.is_empty() && sources.all(|source| changed(source).is_ok_and(|it| it <= built))
}

/// Returns the Python that has the packages of the tests, or another.
fn python() -> PathBuf {
    let installed = repository().join("target/python/bin/python");
    match env::var_os("AGENTWIRE_PYTHON") {
        Some(python) => python.into(),
        None if installed.exists() => installed,
        None => {
            let path = env::var_os("PATH").unwrap_or_default();
            let mut folders = env::split_paths(&path).map(|folder| folder.join("python3"));
            folders
                .find(|file| file.exists())
                .expect("these tests need Python 3.10 or newer")
        }
    }
}

fn has_agenkit() -> bool {
    let import = Command::new(python())
        .args(["-c", "import agenkit"])
        .output();
    import.unwrap().status.success()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

const LONGEST_SESSION: Duration = Duration::from_secs(120);

const CARGO: &str = r#"
case "$1" in
  new) exec "@CARGO@" --offline --quiet "$@" ;;
  add)
    arguments=()
    while [ $# -gt 0 ]; do
      if [ "$1" = --git ]; then
        [ "$2" = https://github.com/agentwire/agentwire ] || exit 1
        arguments+=(--path "@REPOSITORY@/adapter")
        shift
      elif [ "$1" != agentwire ]; then
        arguments+=("$1")
      fi
      shift
    done
    exec "@CARGO@" --offline --quiet "${arguments[@]}"
    ;;
  install)
    case "$*" in
      *" --git https://github.com/agentwire/agentwire agentwire-cli"*) exit 0 ;;
    esac
    ;;
  run)
    shift
    name=main
    while [ $# -gt 0 ]; do
      case "$1" in
        --bin) name=$2; shift ;;
        --example) cd "@REPOSITORY@" && exec "@EXAMPLES@/$2" ;;
        --quiet) ;;
        *) echo "cargo run $1: not in the documents" >&2; exit 1 ;;
      esac
      shift
    done
    exec "@PROGRAMS@" "$(cat "$STORY/bins/$name")"
    ;;
esac
echo "cargo $*: not in the documents" >&2
exit 1
"#;
