//! Exports spans with OTLP over HTTP, as protobuf.
//!
//! The exporter's default client would bring seventy crates for an address that is nearly always a
//! collector on this machine, so this module sends the requests itself, and without TLS.

use std::{
    fmt,
    future::Future,
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    pin::Pin,
    sync::OnceLock,
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use http::{Request, Response, StatusCode};
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::{Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, registry::LookupSpan};

use crate::{
    exit::{CliError, Exit},
    logging::{HEADING, select::Select},
    output,
};

/// The options for exported spans.
#[derive(Debug, Args)]
pub(crate) struct OtlpArgs {
    /// Export the spans of requests and calls to this collector, such as http://127.0.0.1:4318;
    /// OTEL_SERVICE_NAME sets the name of the service [default: agentwire]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = ENDPOINT_VARIABLE,
        help_heading = HEADING
    )]
    otlp: Option<String>,

    /// The fraction of new traces to export, from 0 to 1
    #[arg(
        long,
        global = true,
        value_name = "RATIO",
        default_value = "1",
        value_parser = parse_fraction,
        help_heading = HEADING
    )]
    otlp_sample: f64,
}

impl OtlpArgs {
    /// Returns the layer that exports spans, if there is a collector.
    pub(crate) fn layer<S>(&self) -> Result<Option<impl Layer<S> + use<S>>, CliError>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Some(url) = self.otlp.as_deref().filter(|url| !url.is_empty()) else {
            return Ok(None);
        };
        if !url.starts_with("http://") {
            // The variable is for all programs of a machine, and no reason not to run.
            if std::env::var(ENDPOINT_VARIABLE).is_ok_and(|variable| variable == url) {
                output::warn(format_args!(
                    "{ENDPOINT_VARIABLE}: spans are not exported, because {url:?} does not begin \
                     with http://"
                ));
                return Ok(None);
            }
            let problem = format!("--otlp: expected http://HOST:PORT, found {url:?}");
            return Err(CliError::new(Exit::Usage, problem));
        }
        let failed = |error: &(dyn std::error::Error + 'static)| {
            CliError::from_error(Exit::Usage, error).context("--otlp")
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector)
            .with_endpoint(format!("{}/v1/traces", url.trim_end_matches('/')))
            .build()
            .map_err(|error| failed(&error))?;
        let service = std::env::var("OTEL_SERVICE_NAME").unwrap_or_default();
        let service = if service.is_empty() {
            "agentwire".to_owned()
        } else {
            service
        };
        let sampler = Sampler::TraceIdRatioBased(self.otlp_sample);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_sampler(Sampler::ParentBased(Box::new(sampler)))
            .with_resource(Resource::builder().with_service_name(service).build())
            .build();
        let tracer = provider.tracer("agentwire");
        // This is the only call.
        let _ = PROVIDER.set(provider);
        // Only spans, because events may contain texts of peers.
        let select = Select::new(LevelFilter::DEBUG, |metadata: &Metadata<'_>| {
            metadata.is_span()
                && metadata.target().starts_with("agentwire")
                && matches!(metadata.name(), "request" | "call")
        });
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false);
        Ok(Some(layer.with_filter(select)))
    }
}

const ENDPOINT_VARIABLE: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

fn parse_fraction(text: &str) -> Result<f64, String> {
    let fraction = text.parse().ok().filter(|it| (0.0..=1.0).contains(it));
    fraction.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

/// Returns whether spans are exported. Clients then send their trace contexts.
pub(crate) fn is_on() -> bool {
    PROVIDER.get().is_some()
}

/// Exports the spans that have not been exported, before the program exits.
pub(crate) fn flush() {
    if let Some(provider) = PROVIDER.get() {
        if let Err(error) = provider.shutdown() {
            output::warn(format_args!("could not export the last spans: {error}"));
        }
    }
}

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// Sends requests to a collector. The thread of the exporter waits for each answer.
struct Collector;

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Collector")
    }
}

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(async move {
            let status = send(&request)?;
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = status;
            Ok(response)
        })
    }
}

/// Sends a request and returns the status of the answer.
fn send(request: &Request<Bytes>) -> io::Result<StatusCode> {
    let invalid = |text: &'static str| io::Error::new(io::ErrorKind::InvalidData, text);
    let uri = request.uri();
    let host = uri.authority().ok_or(invalid("the URL has no host"))?;
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    let mut addresses = (name, host.port_u16().unwrap_or(80)).to_socket_addrs()?;
    let address = addresses.next().ok_or(invalid("the host has no address"))?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n",
        uri.path(),
        request.body().len()
    )
    .into_bytes();
    for (name, value) in request.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    stream.write_all(&head)?;
    stream.write_all(request.body())?;
    // `HTTP/1.1 200` is enough of an answer.
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    let status = answer
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| rest.get(2..));
    let status = status.and_then(|digits| StatusCode::from_bytes(digits).ok());
    status.ok_or(invalid("the collector does not speak HTTP"))
}

const TIMEOUT: Duration = Duration::from_secs(5);
