//! The command `agentwire proxy` as a child process.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{Target, TestFailure, process::Process, wire::codec_name};

/// A child process that runs the command `agentwire proxy`. Dropping the value kills the process.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    endpoint: String,
}

impl Proxy {
    /// Builds the command unless it already exists. The build can block the thread for minutes.
    ///
    /// An existing command may be outdated: `cargo test --workspace` rebuilds the command, but
    /// running only these tests does not.
    ///
    /// # Errors
    ///
    /// Returns an error with the output of Cargo if the build fails.
    pub fn prepare() -> Result<(), TestFailure> {
        binary().map(|_| ())
    }

    /// Starts the proxy and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// Returns an error with the standard error of the proxy if the proxy cannot listen.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the process is killed.
    pub async fn start(listen: &str, target: Target<'_>) -> Result<Self, TestFailure> {
        let mut command = tokio::process::Command::new(binary()?);
        let codec = codec_name(target.format);
        command.args(["proxy", "--codec", codec, listen, target.endpoint]);
        let mut process = Process::start("agentwire proxy", &mut command)?;
        let endpoint = process.line_after("listening on ").await?;
        Ok(Self { process, endpoint })
    }

    /// Returns the endpoint of the proxy. For TCP, it contains the port that the system chose.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Adds the standard error of the proxy to a failure of a client.
    #[must_use]
    pub fn explain(&self, failure: TestFailure) -> TestFailure {
        self.process.explain(failure)
    }
}

/// Returns the command `agentwire`, which is built unless it already exists.
///
/// # Errors
///
/// Returns an error with the output of Cargo if the build fails.
pub fn agentwire_command() -> Result<Command, TestFailure> {
    binary().map(Command::new)
}

fn binary() -> Result<&'static Path, TestFailure> {
    static FOUND: OnceLock<Result<PathBuf, TestFailure>> = OnceLock::new();
    match FOUND.get_or_init(find_or_build) {
        Ok(path) => Ok(path),
        Err(failure) => Err(TestFailure::new(failure.to_string())),
    }
}

/// Returns the path of the command. Builds the command if it does not exist.
///
/// Cargo provides the path of a command only to tests of the same package. Therefore, the path is
/// derived from the path of the test executable: test executables are in `TARGET/PROFILE/deps`, and
/// commands are in `TARGET/PROFILE`.
fn find_or_build() -> Result<PathBuf, TestFailure> {
    let executable = env::current_exe()?;
    let mut folders = executable.ancestors().skip(2);
    let (Some(profile), Some(target)) = (folders.next(), folders.next()) else {
        return Err(TestFailure::new(format!(
            "no target folder above {executable:?}"
        )));
    };
    let binary = profile.join(format!("agentwire{}", env::consts::EXE_SUFFIX));
    if !binary.exists() {
        build(target, profile)?;
    }
    Ok(binary)
}

fn build(target: &Path, profile: &Path) -> Result<(), TestFailure> {
    // The directory has the same name as the profile, except for the profile `dev`.
    let profile = match profile.file_name().and_then(|name| name.to_str()) {
        None | Some("debug") => "dev",
        Some(name) => name,
    };
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = package.parent().unwrap_or(package);
    let build = Command::new(env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into()))
        .args(["build", "--package", "agentwire-cli", "--profile", profile])
        .arg("--target-dir")
        .arg(target)
        .current_dir(workspace)
        .output()?;
    if build.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&build.stderr);
    Err(TestFailure::new(format!(
        "the command agentwire cannot be built:\n{stderr}"
    )))
}
