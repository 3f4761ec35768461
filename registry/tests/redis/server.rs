//! [`RedisServer`]: a redis-server for one test.

use std::{
    env,
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use agentwire_registry::{RedisRegistry, RedisRegistryBuilder};
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue};
use tempfile::TempDir;
use tokio::time::interval;

use super::{until, within};

/// A redis-server process, killed on drop.
pub(super) struct RedisServer {
    process: Child,
    port: u16,
    dir: TempDir,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts a server that does not persist its data.
    pub(super) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server that persists every write before it answers.
    pub(super) async fn start_durable() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await
    }

    /// Starts a cluster of one server.
    pub(super) async fn start_cluster() -> Self {
        let server = Self::start_with(&["--cluster-enabled", "yes"]).await;
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("ADDSLOTS").arg((0..16_384).collect::<Vec<u16>>());
        let () = server.run(&slots).await.expect("slots");
        until(|| async {
            let info: String = server.command(&["CLUSTER", "INFO"]).await;
            info.contains("cluster_state:ok").then_some(())
        })
        .await;
        server
    }

    async fn start_with(arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&text| text.to_owned()).collect();
        // Another process may take the port before the server binds it.
        for _ in 0..10 {
            let port = free_port();
            let dir = tempfile::tempdir().expect("a directory for Redis");
            let mut server = Self {
                process: spawn(port, &dir, &arguments),
                port,
                dir,
                arguments: arguments.clone(),
            };
            if within(server.is_ready()).await {
                return server;
            }
        }
        panic!("redis-server exits at once");
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(super) fn builder(&self) -> RedisRegistryBuilder {
        RedisRegistry::builder(self.url()).timeout(Duration::from_secs(10))
    }

    pub(super) async fn connect(&self) -> RedisRegistry {
        within(self.builder().connect()).await.expect("connect")
    }

    /// Runs a command directly.
    pub(super) async fn run<T: FromRedisValue>(&self, command: &Cmd) -> redis::RedisResult<T> {
        let client = Client::open(self.url())?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let work = async {
            let connecting = client.get_multiplexed_async_connection_with_config(&config);
            let mut connection = connecting.await?;
            command.query_async(&mut connection).await
        };
        within(work).await
    }

    /// Runs a command given as words.
    pub(super) async fn command<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        self.run(&command).await.expect("a command")
    }

    /// Kills the server with SIGKILL.
    pub(super) fn kill(&mut self) {
        self.process.kill().expect("kill -9");
        self.process.wait().expect("it has ended");
    }

    /// Starts the server again, on the same port.
    pub(super) async fn restart(&mut self) {
        self.process = spawn(self.port, &self.dir, &self.arguments);
        assert!(within(self.is_ready()).await, "its port was taken");
    }

    /// Waits until the server answers. Returns false if it has exited.
    async fn is_ready(&mut self) -> bool {
        let client = Client::open(self.url()).expect("a URL");
        let mut poll = interval(Duration::from_millis(5));
        loop {
            poll.tick().await;
            if self.process.try_wait().expect("a child").is_some() {
                return false;
            }
            let Ok(mut connection) = client.get_multiplexed_async_connection().await else {
                continue;
            };
            // Another Redis may have the port; the directory identifies this one.
            let mut id = redis::cmd("CONFIG");
            id.arg("GET").arg("dir");
            let found: redis::RedisResult<Vec<String>> = id.query_async(&mut connection).await;
            let dir = self.dir.path().canonicalize().expect("a directory");
            if found.is_ok_and(|found| found.get(1).map(String::as_str) == dir.to_str()) {
                return true;
            }
        }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // The process may have exited already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(port: u16, dir: &TempDir, arguments: &[String]) -> Child {
    let program = env::var("AGENTWIRE_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
    Command::new(&program)
        .args(["--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"])
        .arg("--port")
        .arg(port.to_string())
        .arg("--dir")
        .arg(dir.path())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot start {program}: {error}; run scripts/redis-server, or name one in AGENTWIRE_REDIS_SERVER")
        })
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
