//! Runs each example like a user and checks its output.

use std::{env, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

type TestResult = Result<(), Box<dyn std::error::Error>>;

#[tokio::test]
async fn quickstart() -> TestResult {
    let printed = run(&mut example("quickstart")).await?;
    for line in [
        "   reply: Hello from Rust!",
        "   chunk: one",
        "   chunk: time",
        "   call_agent.py prints: HELLO FROM PYTHON!",
        "Done.",
    ] {
        assert!(
            printed.lines().any(|printed| printed == line),
            "no {line:?} in:\n{printed}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn quickstart_without_python() -> TestResult {
    let error = fail(example("quickstart").env("AGENTWIRE_PYTHON", "no-such-python")).await?;
    assert!(error.contains("install Python 3.10 or later"), "{error}");
    Ok(())
}

#[cfg(unix)]
#[tokio::test]
async fn allow_uid() -> TestResult {
    use std::os::unix::fs::MetadataExt;

    let own = tempfile::tempdir()?.path().metadata()?.uid();
    for (allowed, expected) in [(own, "reply:"), (own + 1, "refused: FORBIDDEN")] {
        let printed = run(example("allow_uid").arg(allowed.to_string())).await?;
        assert!(printed.starts_with(expected), "{printed}");
    }
    Ok(())
}

#[tokio::test]
async fn discovery() -> TestResult {
    let printed = run(&mut example("discovery")).await?;
    for line in [
        "   joined: python.sock",
        "   found 3 instances of weather",
        "      3 from Python",
        "      3 from the other Rust",
        "   30 calls, 30 replies:",
        "   expired: second.sock",
        "   2 instances left",
        "Done.",
    ] {
        assert!(
            printed.lines().any(|printed| printed == line),
            "no {line:?} in:\n{printed}"
        );
    }
    // The instance must have replied only before it was killed.
    assert_eq!(
        printed.matches("from the other Rust").count(),
        1,
        "{printed}"
    );
    Ok(())
}

#[cfg(feature = "doors")]
#[tokio::test]
async fn five_doors() -> TestResult {
    let printed = run(&mut example("five_doors")).await?;
    for scheme in ["unix", "tcp", "ws", "http", "grpc"] {
        let shouted = format!(
            "{scheme}: HELLO THROUGH {} (3 chunks",
            scheme.to_uppercase()
        );
        // Without the package agenkit, Python opens three doors.
        let by_python = printed.matches(&format!("{shouted}, with")).count();
        let not_called = printed.contains(&format!("{scheme}: not called; install"));
        assert!(by_python == 1 || not_called, "{scheme}:\n{printed}");
        let closed = format!("   {scheme}: closed");
        for line in [format!("   {shouted})"), closed] {
            assert!(
                printed.lines().any(|printed| printed == line),
                "no {line:?} in:\n{printed}"
            );
        }
    }
    let by_standard_library = printed.contains("with the standard library");
    let not_called = printed.matches("not called").count();
    assert_eq!(
        not_called,
        if by_standard_library { 2 } else { 0 },
        "{printed}"
    );
    assert!(printed.ends_with("Done.\n"), "{printed}");
    Ok(())
}

#[tokio::test]
async fn streaming() -> TestResult {
    let printed = run(&mut example("streaming")).await?;
    let wanted = "\
Read a stream to its end:
   3
   2
   1
Drop a stream after two of a million numbers:
   1000000
   999999
   (the agent stops)
";
    assert_eq!(printed, wanted);
    Ok(())
}

#[tokio::test]
async fn in_memory() -> TestResult {
    assert_eq!(
        run(&mut example("in_memory")).await?,
        "Both tests passed.\n"
    );
    Ok(())
}

#[tokio::test]
async fn server_and_client() -> TestResult {
    let (_server, endpoint) = start_server("tcp://127.0.0.1:0").await?;
    let printed = run(example("client").args([&endpoint, "hello there"])).await?;
    assert_eq!(printed, "HELLO THERE\n");
    Ok(())
}

#[tokio::test]
async fn client_without_server() -> TestResult {
    let directory = tempfile::tempdir()?;
    let endpoint = format!("unix://{}", directory.path().join("missing.sock").display());
    let error = fail(example("client").arg(&endpoint)).await?;
    let wanted = format!("Cannot connect to {endpoint}. Start the example `server` first.\n");
    assert_eq!(error, wanted);
    Ok(())
}

/// Returns the command that runs an example.
///
/// Cargo builds the examples for `cargo test`, but does not provide their paths to tests.
/// Therefore, the path is derived from the path of this test: the test is in `TARGET/PROFILE/deps`,
/// and the examples are in `TARGET/PROFILE/examples`.
fn example(name: &str) -> Command {
    let test = env::current_exe().unwrap_or_default();
    let mut path: PathBuf = test.ancestors().skip(2).take(1).collect();
    path.extend(["examples", name]);
    path.set_extension(env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "{path:?} does not exist; build it with `cargo build --examples`"
    );

    let mut command = Command::new(path);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Starts the server and returns its process and its endpoint. Dropping the process kills it.
async fn start_server(endpoint: &str) -> Result<(Child, String), Box<dyn std::error::Error>> {
    let mut server = example("server")
        .arg(endpoint)
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = server
        .stdout
        .take()
        .ok_or("the server has no standard output")?;
    let mut lines = BufReader::new(stdout).lines();
    let line = timeout(LIMIT, lines.next_line())
        .await??
        .unwrap_or_default();
    match line.split(' ').collect::<Vec<_>>()[..] {
        ["serving", endpoint, ..] => Ok((server, endpoint.to_owned())),
        _ => Err(format!("the server printed {line:?}").into()),
    }
}

/// Runs a program that must succeed and returns its standard output.
async fn run(command: &mut Command) -> Result<String, Box<dyn std::error::Error>> {
    let output = timeout(LIMIT, command.output()).await??;
    let (stdout, stderr) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    );
    assert!(
        output.status.success(),
        "{}:\n{stdout}{stderr}",
        output.status
    );
    Ok(stdout)
}

/// Runs a program that must fail and returns its standard error.
async fn fail(command: &mut Command) -> Result<String, Box<dyn std::error::Error>> {
    let output = timeout(LIMIT, command.output()).await??;
    let stderr = String::from_utf8(output.stderr)?;
    assert!(!output.status.success(), "expected a failure:\n{stderr}");
    Ok(stderr)
}

/// The time limit for one program. It is much longer than needed, even on a heavily loaded machine.
const LIMIT: Duration = Duration::from_secs(60);
