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

use super::within;

/// A Redis of its own, which ends when this is dropped.
pub(super) struct RedisServer {
    process: Child,
    port: u16,
    dir: TempDir,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts one that keeps nothing when it ends.
    pub(super) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one that writes down everything before it answers.
    pub(super) async fn start_durable() -> Self {
        Self::start_with(&["--appendonly", "yes", "--appendfsync", "always"]).await
    }

    async fn start_with(arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&text| text.to_owned()).collect();
        // Somebody may take a port between the look and the use.
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
        panic!("redis-server ends as soon as it is started");
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

    /// Runs a command, past any registry.
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

    /// The same, in words.
    pub(super) async fn tell<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        self.run(&command).await.expect("a command")
    }

    /// Ends it without a chance to do anything about it.
    pub(super) fn kill(&mut self) {
        self.process.kill().expect("kill -9");
        self.process.wait().expect("it has ended");
    }

    /// Starts it again at the same port.
    pub(super) async fn restart(&mut self) {
        self.process = spawn(self.port, &self.dir, &self.arguments);
        assert!(within(self.is_ready()).await, "its port was taken");
    }

    /// Waits until it answers; false if it has ended.
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
            // Another Redis may be at the port.
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
        // It may have ended.
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
