use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{Failure, Target, process::Process, way::codec_name};

/// A process that runs `agentwire proxy`, the real command. Killed on drop.
#[derive(Debug)]
pub struct Proxy {
    process: Process,
    endpoint: String,
}

impl Proxy {
    /// Builds the command, if it is not there. This may take minutes, and blocks.
    ///
    /// A command that is there is used as it is. `cargo test --workspace` keeps it up to date; a
    /// run of these tests alone does not.
    ///
    /// # Errors
    ///
    /// If the build fails, with what Cargo says about it.
    pub fn prepare() -> Result<(), Failure> {
        binary().map(|_| ())
    }

    /// Starts the proxy, and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// If it cannot listen, with what it says about that.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future kills the process.
    pub async fn start(listen: &str, target: Target<'_>) -> Result<Self, Failure> {
        let mut command = tokio::process::Command::new(binary()?);
        let codec = codec_name(target.format);
        command.args(["proxy", "--codec", codec, listen, target.endpoint]);
        let mut process = Process::start("agentwire proxy", &mut command)?;
        let endpoint = process.line_after("listening on ").await?;
        Ok(Self { process, endpoint })
    }

    /// Where it listens, with the port that it was given.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Adds what the proxy said on standard error to the failure of its client.
    #[must_use]
    pub fn explain(&self, failure: Failure) -> Failure {
        self.process.explain(failure)
    }
}

fn binary() -> Result<&'static Path, Failure> {
    static FOUND: OnceLock<Result<PathBuf, Failure>> = OnceLock::new();
    match FOUND.get_or_init(find_or_build) {
        Ok(path) => Ok(path),
        Err(failure) => Err(Failure::new(failure.to_string())),
    }
}

/// Cargo tells the path of a command to tests of its own package only. But test executables are in
/// `TARGET/PROFILE/deps`, and commands in `TARGET/PROFILE`.
fn find_or_build() -> Result<PathBuf, Failure> {
    let executable = env::current_exe()?;
    let mut folders = executable.ancestors().skip(2);
    let (Some(profile), Some(target)) = (folders.next(), folders.next()) else {
        return Err(Failure::new(format!(
            "no target folder above {executable:?}"
        )));
    };
    let binary = profile.join(format!("agentwire{}", env::consts::EXE_SUFFIX));
    if !binary.exists() {
        build(target, profile)?;
    }
    Ok(binary)
}

fn build(target: &Path, profile: &Path) -> Result<(), Failure> {
    // Only the folder of the profile `dev` has another name.
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
    Err(Failure::new(format!(
        "the command agentwire cannot be built:\n{stderr}"
    )))
}
