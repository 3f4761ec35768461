//! Sockets that another program has bound, and the files of Unix sockets.

use std::{
    net::TcpListener,
    os::{
        fd::OwnedFd,
        unix::{
            fs::{MetadataExt, PermissionsExt},
            net::UnixListener,
        },
    },
    process::Stdio,
};

use rustix::process::Signal;
use tokio::process::Command;

use crate::program::{Finished, Running, Server, finish, program, run};

/// Prepares a run with a socket as standard input.
fn with_socket(args: &[&str], socket: impl Into<OwnedFd>) -> Command {
    let mut command = program(args);
    command.stdin(Stdio::from(socket.into()));
    command
}

/// Prepares a run in which the socket has number 3, as systemd passes sockets. `variables` are
/// assignments in a shell, where `$$` is the process id of the program.
fn activated(variables: &str, args: &str, socket: impl Into<OwnedFd>) -> Command {
    let script = format!("exec 3<&0 </dev/null; {variables} exec \"$0\" {args}");
    let mut command = program::<&str>([]);
    let program = command.as_std().get_program().to_owned();
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(program);
    std::mem::swap(&mut command, &mut shell);
    command
        .stdin(Stdio::from(socket.into()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Returns whether a file of a process is closed when the process starts another program.
fn closes_on_exec(process: u32, number: u32) -> bool {
    const CLOEXEC: u32 = 0o2_000_000;
    let info = std::fs::read_to_string(format!("/proc/{process}/fdinfo/{number}"));
    let info = info.expect("an open file");
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = u32::from_str_radix(flags.expect("flags").trim(), 8).expect("an octal number");
    flags & CLOEXEC != 0
}

async fn is_served(server: &Server) {
    let called = run(["call", &server.endpoint, "--raw", "x"]).await;
    assert_eq!(called.success(), "x\n");
}

async fn stop(server: Server) -> Finished {
    server.running.send(Signal::TERM);
    server.running.end().await
}

#[tokio::test]
async fn a_socket_is_taken_by_its_number() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("bind");
    let port = socket.local_addr().expect("address").port();
    let command = with_socket(&["serve", "--fd", "0"], socket);
    let server = Server::from_running(Running::start_command(command)).await;
    assert_eq!(server.endpoint, format!("tcp://127.0.0.1:{port}"));
    is_served(&server).await;
    assert_eq!(stop(server).await.success(), "");

    // The file belongs to the creator of the socket.
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("agent.sock");
    let socket = UnixListener::bind(&path).expect("bind");
    let command = activated("", "serve --fd 3", socket);
    let server = Server::from_running(Running::start_command(command)).await;
    assert_eq!(server.endpoint, format!("unix://{}", path.display()));
    is_served(&server).await;
    assert_eq!(stop(server).await.success(), "");
    assert!(path.exists());
}

#[tokio::test]
async fn sockets_of_systemd_are_served_by_every_server() {
    let echo = Server::agent("echo").await;
    for (args, arrives) in [
        ("serve", true),
        (&*format!("proxy {}", echo.endpoint), true),
        ("registry serve", false),
    ] {
        let socket = TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = socket.local_addr().expect("address").port();
        let command = activated("LISTEN_FDS=1 LISTEN_PID=$$", args, socket);
        let server = Server::from_running(Running::start_command(command)).await;
        assert_eq!(server.endpoint, format!("tcp://127.0.0.1:{port}"));
        assert!(closes_on_exec(server.running.id(), 3));
        if arrives {
            is_served(&server).await;
        } else {
            run(["registry", "list", &server.endpoint]).await.success();
        }
        assert_eq!(stop(server).await.success(), "");
    }
}

#[tokio::test]
async fn sockets_for_another_process_and_unusable_ones_are_refused() {
    let listener = || TcpListener::bind("127.0.0.1:0").expect("bind");
    let other = activated("LISTEN_FDS=1 LISTEN_PID=1", "serve", listener());
    let outcome = finish(other).await;
    assert!(
        outcome.error(2).contains("nowhere to listen"),
        "{outcome:?}"
    );
    let many = activated("LISTEN_FDS=4000000000 LISTEN_PID=$$", "serve", listener());
    assert!(finish(many).await.error(2).contains("are more than"));
    let target = listener();
    let connected = std::net::TcpStream::connect(target.local_addr().expect("address"));
    let command = with_socket(&["serve", "--fd", "0"], connected.expect("connect"));
    assert!(finish(command).await.error(2).contains("does not listen"));
    run(["serve", "--fd=-1"]).await.error(2);
    for number in ["0", "77"] {
        let fd = format!("--fd={number}");
        let outcome = run(["serve", &fd]).await;
        let error = outcome.error(2);
        assert!(error.starts_with(&format!("--fd {number}: ")), "{error}");
    }
}

#[tokio::test]
async fn the_file_of_a_socket_has_the_given_mode_and_group() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("agent.sock");
    let endpoint = format!("unix://{}", path.display());
    let own = std::fs::metadata(directory.path()).expect("metadata").gid();
    let own = own.to_string();
    for (options, mode) in [
        (&[][..], 0o600),
        (&["--socket-mode", "0666"], 0o666),
        (&["--socket-group", &own], 0o660),
        (&["--socket-group", &own, "--socket-mode", "660"], 0o660),
    ] {
        let server = Server::start([&["serve", &endpoint], options].concat()).await;
        let file = std::fs::metadata(&path).expect("metadata");
        assert_eq!(file.permissions().mode() & 0o777, mode, "{options:?}");
        assert_eq!(file.gid().to_string(), own);
        is_served(&server).await;
        assert_eq!(stop(server).await.success(), "");
        assert!(!path.exists());
    }
    for options in [
        &["serve", "tcp://127.0.0.1:0", "--socket-mode", "0660"][..],
        &["serve", &endpoint, "--socket-mode", "0999"],
        &["serve", &endpoint, "--socket-group", "no such group"],
    ] {
        run(options).await.error(2);
    }
}
