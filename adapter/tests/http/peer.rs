//! A peer that sends any bytes and reads answers of HTTP/1.1.

use agentwire::{
    Endpoint, Value,
    transport::{Connection, connect},
};
use agentwire_codec::Format;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

use crate::common::within;

/// A connection of HTTP/1.1.
pub(crate) struct Peer(BufReader<Connection>);

/// An answer of HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Peer {
    pub(crate) async fn connect(endpoint: &Endpoint) -> Self {
        let (host, port) = endpoint.host_and_port().expect("a port");
        let below = Endpoint::tcp(host, port).expect("an endpoint");
        Self::over(within(connect(&below)).await.expect("a server"))
    }

    pub(crate) fn over(connection: Connection) -> Self {
        Self(BufReader::new(connection))
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.0.write_all(bytes.as_ref()))
            .await
            .expect("the server reads");
    }

    /// Sends a request with a body.
    pub(crate) async fn post(&mut self, path: &str, headers: &str, body: &str) {
        let len = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {len}\r\n\r\n");
        self.send(head + body).await;
    }

    /// Sends a request with a body, and reads its answer.
    pub(crate) async fn ask(&mut self, path: &str, body: &str) -> Reply {
        self.post(path, "", body).await;
        self.reply().await
    }

    /// Sends a request without a body, and reads its answer.
    pub(crate) async fn get(&mut self, method: &str, path: &str, headers: &str) -> Reply {
        self.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\n{headers}\r\n"
        ))
        .await;
        let mut reply = self.head().await;
        if method != "HEAD" {
            self.body(&mut reply).await;
        }
        reply
    }

    /// Reads a line without its end, or returns `None` at the end of the stream.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = within(self.0.read_line(&mut line)).await.ok()?;
        (read > 0).then(|| line.trim_end_matches("\r\n").to_owned())
    }

    /// Reads a number of bytes.
    #[cfg(feature = "websocket")]
    pub(crate) async fn exactly(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        within(self.0.read_exact(&mut bytes)).await.expect("bytes");
        bytes
    }

    /// Reads the status and the headers of an answer.
    pub(crate) async fn head(&mut self) -> Reply {
        let line = self.line().await.expect("an answer");
        let status = line.strip_prefix("HTTP/1.1 ").expect(&line);
        let status = status[..3].parse().expect(&line);
        let mut headers = Vec::new();
        loop {
            let line = self.line().await.expect("a header");
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").expect(&line);
            headers.push((name.to_owned(), value.to_owned()));
        }
        Reply {
            status,
            headers,
            body: Vec::new(),
        }
    }

    /// Reads an answer.
    pub(crate) async fn reply(&mut self) -> Reply {
        let mut reply = self.head().await;
        self.body(&mut reply).await;
        reply
    }

    async fn body(&mut self, reply: &mut Reply) {
        if reply.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk().await {
                reply.body.extend(chunk);
            }
        } else {
            let len = reply.header("content-length").unwrap_or("0");
            reply.body.resize(len.parse().expect("a length"), 0);
            within(self.0.read_exact(&mut reply.body))
                .await
                .expect("the body");
        }
    }

    /// Reads a chunk of a body, or returns `None` after the last one.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let len = self.line().await.expect("a chunk");
        let len = usize::from_str_radix(&len, 16).expect("a length");
        let mut chunk = vec![0; len + 2];
        within(self.0.read_exact(&mut chunk))
            .await
            .expect("a chunk");
        chunk.truncate(len);
        (len > 0).then_some(chunk)
    }

    /// Waits until the server closes the connection, and returns what it has sent before.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        // A server that has not read everything resets the connection.
        let _ = within(self.0.read_to_end(&mut rest)).await;
        rest
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(found, _)| found.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &**value)
    }

    /// Returns the body as a value.
    pub(crate) fn json(&self) -> Value {
        let value = Format::Json.decode_value(&self.body);
        value.unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    /// Returns the code of an error in both of its forms.
    pub(crate) fn code(&self) -> String {
        let json = self.json();
        assert_eq!(json["type"], "error", "{json:?}");
        let payload = &json["payload"];
        assert_eq!(payload["error"]["code"], payload["error_code"]);
        assert_eq!(payload["error"]["message"], payload["error_message"]);
        payload["error_code"].as_str().expect("a code").to_owned()
    }
}

/// A body for `/process` or `/stream` with metadata.
pub(crate) fn message(metadata: &str) -> String {
    format!(
        r#"{{"id": "7", "payload": {{"message": {{"role": "user", "content": "h\u00e9", "metadata": {{{metadata}}}}}}}}}"#
    )
}
