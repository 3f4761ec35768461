//! Functions that find Python and create the commands that run the scripts.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::TestFailure;

/// Returns the path of the Python interpreter.
///
/// # Errors
///
/// Returns an error that describes how to install Python if Python is missing. The tests must fail
/// in this case, because without the other language they would test nothing.
fn python() -> Result<&'static Path, TestFailure> {
    static FOUND: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match FOUND.get_or_init(|| find(&command())) {
        Ok(path) => Ok(path),
        Err(text) => Err(TestFailure::new(text.clone())),
    }
}

/// Returns the command for Python: the command from the environment variable, the Python that has
/// the packages installed, or `python3`.
fn command() -> OsString {
    if let Some(named) = env::var_os(VARIABLE) {
        return named;
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let with_packages = workspace.map(|path| path.join("target/python/bin/python"));
    match with_packages.filter(|path| path.exists()) {
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
        unusable(format!("does not answer like Python: {output}{stderr}"))
    })?;
    if version < OLDEST {
        let (major, minor) = version;
        return Err(unusable(format!("is Python {major}.{minor}")));
    }
    Ok(path.into())
}

/// Returns the command that runs one of the scripts in `python/`.
///
/// # Errors
///
/// Returns an error that describes how to install Python if Python is missing.
pub fn script_command(script: &str, arguments: &[&str]) -> Result<Command, TestFailure> {
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

/// The environment variable with the path of Python. The default is the Python from
/// `scripts/python-packages`, or `python3`.
const VARIABLE: &str = "AGENTWIRE_PYTHON";

/// The oldest version of Python that the scripts support.
const OLDEST: (u32, u32) = (3, 10);

/// A Python script that prints the version on one line and the path of the interpreter on the next
/// line.
///
/// The tests run the interpreter from this path. `python3` may be a wrapper script, but a test must
/// be able to kill the interpreter itself.
const PROBE: &str = "import sys; print(*sys.version_info[:2]); print(sys.executable)";

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
    fn another_program_is_not_taken_for_python() {
        // Cargo is always available when this test runs, and has no option `-c`.
        let text = find(OsStr::new(env!("CARGO"))).unwrap_err();
        assert!(text.contains("does not answer like Python"), "{text}");
    }

    #[test]
    fn the_answer_of_python_is_parsed() {
        let answer = "3 12\n/opt/python 3/bin/python3.12\n";
        let path = "/opt/python 3/bin/python3.12";
        assert_eq!(parse(answer), Some(((3, 12), path)));
        for bad in ["", "3 12\n", "3 12\n\n", "3.12\n/python\n"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
