use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::Failure;

/// Names the Python to use. Without it, it is the one that `scripts/python-packages` has equipped, or `python3`.
const VARIABLE: &str = "AGENTWIRE_PYTHON";

/// The oldest Python that the scripts run on.
const OLDEST: (u32, u32) = (3, 10);

/// Prints the version on one line and the interpreter on the next.
///
/// The interpreter's own path is used from then on, because `python3` may be a wrapper, and what
/// is ended on drop must be the interpreter.
const PROBE: &str = "import sys; print(*sys.version_info[:2]); print(sys.executable)";

/// The Python that runs the other side.
///
/// # Errors
///
/// What is wrong and what to do, if there is none. The tests must fail then: without the other
/// side they would test nothing.
fn python() -> Result<&'static Path, Failure> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(|| find(&command())) {
        Ok(path) => Ok(path),
        Err(text) => Err(Failure::new(text.clone())),
    }
}

/// The one that is named; the one that has the packages; any.
fn command() -> OsString {
    if let Some(named) = env::var_os(VARIABLE) {
        return named;
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let equipped = workspace.map(|path| path.join("target/python/bin/python"));
    match equipped.filter(|path| path.exists()) {
        Some(path) => path.into(),
        None => OsString::from("python3"),
    }
}

fn find(command: &OsStr) -> Result<PathBuf, String> {
    let unusable = |problem: String| {
        let (major, minor) = OLDEST;
        format!(
            "these tests need Python {major}.{minor} or later, and {command:?} {problem}. \
             Install it, or set {VARIABLE} to the path of one."
        )
    };
    let probe = Command::new(command)
        .args(["-c", PROBE])
        .output()
        .map_err(|error| unusable(format!("cannot be run: {error}")))?;
    let output = String::from_utf8_lossy(&probe.stdout);
    let (version, path) = parse(&output).ok_or_else(|| {
        let stderr = String::from_utf8_lossy(&probe.stderr);
        unusable(format!("does not answer like one: {output}{stderr}"))
    })?;
    if version < OLDEST {
        let (major, minor) = version;
        return Err(unusable(format!("is Python {major}.{minor}")));
    }
    Ok(path.into())
}

/// The command that runs one of the scripts in `python/`.
///
/// # Errors
///
/// What is wrong and what to do, if there is no Python.
pub fn script_command(script: &str, arguments: &[&str]) -> Result<Command, Failure> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("python");
    let mut command = Command::new(python()?);
    command.arg(directory.join(script)).args(arguments);
    Ok(command)
}

fn parse(output: &str) -> Option<((u32, u32), &str)> {
    let mut lines = output.lines();
    let (major, minor) = lines.next()?.split_once(' ')?;
    let path = lines.next().filter(|path| !path.is_empty())?;
    Some(((major.parse().ok()?, minor.parse().ok()?), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_python_says_what_to_do() {
        let text = find(OsStr::new("no-such-python")).unwrap_err();
        assert!(text.contains("\"no-such-python\" cannot be run"), "{text}");
        assert!(text.contains("set AGENTWIRE_PYTHON"), "{text}");
    }

    #[test]
    fn another_program_is_told_from_a_python() {
        // Cargo is there whenever this runs, and does not know `-c`.
        let text = find(OsStr::new(env!("CARGO"))).unwrap_err();
        assert!(text.contains("does not answer like one"), "{text}");
    }

    #[test]
    fn what_a_python_answers_is_read() {
        let answer = "3 12\n/opt/python 3/bin/python3.12\n";
        let path = "/opt/python 3/bin/python3.12";
        assert_eq!(parse(answer), Some(((3, 12), path)));
        for bad in ["", "3 12\n", "3 12\n\n", "3.12\n/python\n"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
