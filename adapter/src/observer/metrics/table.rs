//! The names, kinds, units and meanings of all metrics.

use metrics::Unit;

/// The kind of a metric.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// All metrics: name, kind, unit and meaning.
pub(super) const METRICS: [(&str, Kind, Unit, &str); 21] = [
    (
        "agentwire_requests_total",
        Kind::Counter,
        Unit::Count,
        "Requests that a server has ended.",
    ),
    (
        "agentwire_request_duration_seconds",
        Kind::Histogram,
        Unit::Seconds,
        "Time from the arrival of a request at a server to its last answer.",
    ),
    (
        "agentwire_requests_in_flight",
        Kind::Gauge,
        Unit::Count,
        "Requests that servers are processing.",
    ),
    (
        "agentwire_calls_total",
        Kind::Counter,
        Unit::Count,
        "Calls that a client has ended.",
    ),
    (
        "agentwire_call_duration_seconds",
        Kind::Histogram,
        Unit::Seconds,
        "Time from the start of a call of a client to its last answer, with waits and retries.",
    ),
    (
        "agentwire_calls_in_flight",
        Kind::Gauge,
        Unit::Count,
        "Calls of clients that have not ended.",
    ),
    (
        "agentwire_call_queue_seconds",
        Kind::Histogram,
        Unit::Seconds,
        "Time that calls waited for a connection, if none was free.",
    ),
    (
        "agentwire_call_retries_total",
        Kind::Counter,
        Unit::Count,
        "Attempts of calls to connect or to send again.",
    ),
    (
        "agentwire_received_bytes_total",
        Kind::Counter,
        Unit::Bytes,
        "Received bytes of frames, bodies of HTTP and messages of gRPC.",
    ),
    (
        "agentwire_sent_bytes_total",
        Kind::Counter,
        Unit::Bytes,
        "Sent bytes of frames, bodies of HTTP and messages of gRPC.",
    ),
    (
        "agentwire_connections",
        Kind::Gauge,
        Unit::Count,
        "Open connections.",
    ),
    (
        "agentwire_connections_opened_total",
        Kind::Counter,
        Unit::Count,
        "Connections that have been opened.",
    ),
    (
        "agentwire_connections_closed_total",
        Kind::Counter,
        Unit::Count,
        "Connections that have been closed, by reason.",
    ),
    (
        "agentwire_refusals_total",
        Kind::Counter,
        Unit::Count,
        "Connections and frames that a server refused before a request was started.",
    ),
    (
        "agentwire_memory_used_bytes",
        Kind::Gauge,
        Unit::Bytes,
        "Memory of the budgets of all servers that large requests and answers use.",
    ),
    (
        "agentwire_instance_ejections_total",
        Kind::Counter,
        Unit::Count,
        "Instances that a client stopped calling because they failed.",
    ),
    (
        "agentwire_instance_recoveries_total",
        Kind::Counter,
        Unit::Count,
        "Ejected instances that a client calls again.",
    ),
    (
        "agentwire_watch_resyncs_total",
        Kind::Counter,
        Unit::Count,
        "Full lists that a client received because its watch of a registry had lost events.",
    ),
    (
        "agentwire_registrations",
        Kind::Gauge,
        Unit::Count,
        "Registrations in all served registries.",
    ),
    (
        "agentwire_registry_changes_total",
        Kind::Counter,
        Unit::Count,
        "Changes of a served registry, by kind.",
    ),
    (
        "agentwire_layer_actions_total",
        Kind::Counter,
        Unit::Count,
        "Requests that a layer answered by itself or repeated, and circuits that it opened or closed.",
    ),
];
