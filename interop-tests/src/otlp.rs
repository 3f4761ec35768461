//! A collector of OpenTelemetry that keeps the spans that it receives.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// A collector for OTLP over HTTP with protobuf. It runs in threads of the test process, which end
/// with the process.
#[derive(Debug)]
pub struct OtlpSink {
    url: String,
    spans: Arc<Mutex<Vec<Span>>>,
}

/// A span that was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The name.
    pub name: String,
    /// The id of the trace.
    pub trace: Vec<u8>,
    /// The id of the span.
    pub id: Vec<u8>,
    /// The id of the parent, which is empty for the first span of a trace.
    pub parent: Vec<u8>,
    /// The attributes with text.
    pub attributes: BTreeMap<String, String>,
}

impl OtlpSink {
    /// Starts the collector.
    ///
    /// # Errors
    ///
    /// Returns an error if no port is free.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}", listener.local_addr()?);
        let spans = Arc::<Mutex<Vec<Span>>>::default();
        let kept = Arc::clone(&spans);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let kept = Arc::clone(&kept);
                thread::spawn(move || {
                    // An exporter that leaves is not an error.
                    let _ = receive(stream, &kept);
                });
            }
        });
        Ok(Self { url, spans })
    }

    /// Returns the URL for exporters.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the spans that have been received.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        let spans = self.spans.lock();
        spans.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers the requests on one connection.
fn receive(stream: TcpStream, spans: &Mutex<Vec<Span>>) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut len = 0;
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        loop {
            line.clear();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                len = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; len];
        reader.read_exact(&mut body)?;
        // The spans are kept before the answer, so that an exporter that has exited has been heard.
        let mut kept = spans.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(read_spans(&body));
        drop(kept);
        writer.write_all(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n",
        )?;
    }
}

/// Reads an `ExportTraceServiceRequest`: spans are at the path of fields 1, 2, 2.
fn read_spans(request: &[u8]) -> Vec<Span> {
    let resources = Fields(request).all(1);
    let scopes = resources.flat_map(|resource| Fields(resource).all(2));
    let spans = scopes.flat_map(|scope| Fields(scope).all(2));
    spans.map(read_span).collect()
}

fn read_span(span: &[u8]) -> Span {
    let bytes = |number| Fields(span).all(number).next().unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let attribute = |attribute: &[u8]| {
        let key = Fields(attribute).all(1).next()?;
        let value = Fields(attribute).all(2).next()?;
        Some((text(key), text(Fields(value).all(1).next()?)))
    };
    Span {
        name: text(bytes(5)),
        trace: bytes(1).to_vec(),
        id: bytes(2).to_vec(),
        parent: bytes(4).to_vec(),
        attributes: Fields(span).all(9).filter_map(attribute).collect(),
    }
}

/// The fields of a message of protobuf. Reading ends at the first malformed field.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Returns the values of all fields with a number that hold bytes, texts or messages.
    fn all(self, number: u64) -> impl Iterator<Item = &'a [u8]> {
        self.filter_map(move |(found, value)| (found == number).then_some(value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => {
                self.varint()?;
                Default::default()
            }
            1 => self.take(8)?,
            2 => {
                let len = self.varint()?;
                self.take(usize::try_from(len).ok()?)?
            }
            5 => self.take(4)?,
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}
