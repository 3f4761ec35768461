//! Functions that run the scripts in `examples/python`.

use std::{env, error::Error, ffi::OsString, io, path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// An agent in a Python process. The process exits when this handle is dropped.
pub(crate) struct Agent {
    pub(crate) endpoint: String,
    _process: Child,
}

impl Agent {
    /// Starts a script and waits until it accepts connections.
    pub(crate) async fn start(script: &str, arguments: &[&str]) -> Result<Self, Box<dyn Error>> {
        let mut process = python(script)
            .args(arguments)
            // The script exits when this pipe is closed, so the process does not remain after this
            // program exits.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(no_python)?;
        let stdout = process
            .stdout
            .take()
            .ok_or("the script has no standard output")?;
        let ready = BufReader::new(stdout).lines().next_line().await?;
        match ready
            .as_deref()
            .and_then(|line| line.strip_prefix("READY "))
        {
            Some(endpoint) => Ok(Self {
                endpoint: endpoint.to_owned(),
                _process: process,
            }),
            None => Err(format!("{script} failed to start; see its error above").into()),
        }
    }
}

/// Runs a script until it exits and returns its output.
pub(crate) async fn run(script: &str, arguments: &[&str]) -> Result<String, Box<dyn Error>> {
    let mut process = python(script);
    let process = process
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = process.output().await.map_err(no_python)?;
    if !output.status.success() {
        return Err(format!("{script} failed; see its error above").into());
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

fn python(script: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("python")
        .join(script);
    let mut command = Command::new(interpreter());
    command.arg(path).kill_on_drop(true);
    command
}

fn interpreter() -> OsString {
    env::var_os("AGENTWIRE_PYTHON").unwrap_or_else(|| "python3".into())
}

fn no_python(error: io::Error) -> String {
    format!(
        "cannot run {:?}: {error}; install Python 3.10 or later, \
         or set AGENTWIRE_PYTHON to its path",
        interpreter()
    )
}
