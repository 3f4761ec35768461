//! Registries in Redis.

use std::{
    env,
    process::{Child, Command, Stdio},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::program::{Running, Server, run};

/// A private Redis server, which is killed on drop.
struct Redis {
    process: Child,
    dir: TempDir,
}

impl Redis {
    /// Starts a server without waiting for it to accept connections.
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let program = env::var("AGENTWIRE_REDIS_SERVER");
        let program = program.unwrap_or_else(|_| "redis-server".to_owned());
        let process = Command::new(&program)
            .args(["--port", "0", "--save", "", "--unixsocket"])
            .arg(dir.path().join("redis.sock"))
            .arg("--dir")
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn();
        let process = process.unwrap_or_else(|error| {
            panic!("cannot start {program}: {error}; run scripts/redis-server, or set AGENTWIRE_REDIS_SERVER to the path of one")
        });
        Self { process, dir }
    }

    fn url(&self) -> String {
        let path = self.dir.path().join("redis.sock");
        format!("redis+unix://{}", path.display())
    }

    fn kill(&mut self) {
        // It may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

#[tokio::test]
async fn agents_can_be_registered_listed_called_and_watched_in_redis() {
    let mut redis = Redis::start();
    let url = &redis.url();
    let serve = ["serve", "tcp://127.0.0.1:0", "--name", "parrot"];
    let mut server = Server::start([&serve[..], &["--registry", url]].concat()).await;
    let line = server.running.line().await;
    assert_eq!(line, format!("registered parrot at {}", server.endpoint));

    let listed = run(["registry", "list", url]).await;
    assert!(listed.success().contains(&server.endpoint), "{listed:?}");
    // Another namespace is another registry.
    let other = format!("{url}?namespace=other:&lease=1h");
    let register = [
        "registry",
        "register",
        &other,
        "owl",
        "tcp://198.51.100.1:1",
    ];
    let registered = run(register).await;
    assert!(
        registered.success().ends_with(", lease 1h\n"),
        "{registered:?}"
    );
    let listed = run(["registry", "list", &other]).await;
    assert!(!listed.success().contains("parrot"), "{listed:?}");
    let unknown = run(["registry", "list", &format!("{url}?namspace=x")]).await;
    assert!(unknown.error(2).contains("unknown key"), "{unknown:?}");
    let call = [
        "call",
        "--registry",
        url,
        "--name",
        "parrot",
        "--text",
        "hi",
    ];
    assert!(run(call).await.success().contains("\"hi\""));

    let mut watch = Running::start(["registry", "watch", url]);
    let line = watch.line().await;
    assert!(line.contains("  present  parrot"), "{line}");
    server.running.send(Signal::TERM);
    // Not `success()`: it may have printed a warning while Redis was starting.
    assert_eq!(server.running.end().await.code, 0);
    let line = watch.line().await;
    assert!(line.contains("  left     parrot"), "{line}");

    redis.kill();
    let error = run(["registry", "list", url]).await;
    assert!(error.error(3).contains("cannot be reached"), "{error:?}");
    // With the socket gone, the error gives the cause exactly once.
    std::fs::remove_file(redis.dir.path().join("redis.sock")).expect("a socket");
    let error = run(["registry", "list", url]).await;
    let text = error.error(3);
    assert_eq!(text.matches("No such file").count(), 1, "{text}");
    assert_eq!(text.matches("cannot be reached").count(), 1, "{text}");
}
