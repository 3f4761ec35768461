//! The command `top`, which shows what a server does.

use std::{
    fmt::Write,
    io::IsTerminal,
    time::{Duration, Instant},
};

use agentwire::{Format, Value, transport::internal::Escaped};
use clap::Args;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use unicode_width::UnicodeWidthStr;

use crate::{
    admin::{AdminUrl, parse_admin_url},
    auth_args::TokenArgs,
    exit::{CliError, Exit},
    output, runtime, terminal,
    timeout::parse_timeout,
};

/// Show what a server does: rates, durations, connections and events
///
/// Reads the administrative endpoint of a server that was started with --admin. On a terminal, the
/// picture is drawn again at each interval, until Ctrl-C. Elsewhere, one picture is printed.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct TopArgs {
    /// The URL that the server printed after "admin on"
    #[arg(value_name = "ADMIN_URL", value_parser = parse_admin_url)]
    url: AdminUrl,

    /// The time between two pictures
    #[arg(long, short, value_name = "DURATION", default_value = "1s", value_parser = parse_timeout)]
    interval: Duration,

    #[command(flatten)]
    token: TokenArgs,

    /// The number of pictures [default: 1, or without end on a terminal]
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
}

impl TopArgs {
    pub(crate) fn run(self) -> Result<(), CliError> {
        runtime::run_client(async {
            let is_terminal = std::io::stdout().is_terminal();
            let count = self.count.or((!is_terminal).then_some(1));
            let token = self.token.plain(self.url.is_loopback())?;
            let token = token.as_deref();
            let mut last = Picture::read(&self.url, token).await?;
            let mut drawn = 0;
            while count.is_none_or(|count| drawn < count) {
                sleep(self.interval).await;
                let next = Picture::read(&self.url, token).await?;
                if is_terminal {
                    let (columns, rows) = terminal::size(std::io::stdout());
                    let text = draw(&last, &next, &self.url, columns);
                    // A picture that is too high would scroll the terminal.
                    let lines: Vec<_> = text.lines().take(rows - 1).collect();
                    // Draws over the last picture, because a cleared screen would flicker.
                    let text = lines.join("\x1b[K\n") + "\x1b[K\n";
                    let clear = if drawn == 0 { "\x1b[2J" } else { "" };
                    output::print(format!("{clear}\x1b[H{text}\x1b[J").as_bytes())?;
                } else {
                    let (columns, _) = terminal::DEFAULT_SIZE;
                    output::print(draw(&last, &next, &self.url, columns).as_bytes())?;
                }
                last = next;
                drawn += 1;
            }
            Ok(())
        })
    }
}

/// The state of a server at one time.
struct Picture {
    stats: Value,
    connections: Value,
    at: Instant,
}

impl Picture {
    async fn read(url: &AdminUrl, token: Option<&str>) -> Result<Self, CliError> {
        Ok(Self {
            stats: read(url, "/stats", token).await?,
            connections: read(url, "/connections", token).await?,
            at: Instant::now(),
        })
    }

    /// Returns the metrics with a name whose labels contain all of `labels`.
    fn select<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Value> {
        let metrics = self.stats["metrics"].as_list().unwrap_or_default().iter();
        metrics.filter(move |metric| {
            let has = |(key, value): &(&str, &str)| metric["labels"][*key].as_str() == Some(value);
            metric["name"].as_str() == Some(name) && labels.iter().all(has)
        })
    }

    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let metrics = self.select(name, labels);
        metrics
            .map(|metric| number(&metric["value"]))
            .fold(0.0, |sum, value| sum + value)
    }

    fn counts(&self, name: &str, labels: &[(&str, &str)]) -> Vec<u64> {
        let mut total = Vec::new();
        for metric in self.select(name, labels) {
            let counts = metric["counts"].as_list().unwrap_or_default();
            total.resize(counts.len().max(total.len()), 0);
            for (sum, count) in total.iter_mut().zip(counts) {
                *sum += count.as_u64().unwrap_or(0);
            }
        }
        total
    }

    /// Returns the upper bound of the bucket that contains a quantile of the values since `last`.
    fn quantile(&self, last: &Self, labels: &[(&str, &str)], percent: u64) -> String {
        let mut counts = self.counts(DURATIONS, labels);
        for (count, before) in counts.iter_mut().zip(last.counts(DURATIONS, labels)) {
            *count = count.saturating_sub(before);
        }
        let total: u64 = counts.iter().sum();
        let mut seen = 0;
        let index = counts.iter().position(|count| {
            seen += count;
            seen * 100 >= total * percent
        });
        match index.filter(|_| total > 0) {
            Some(index) => match self.stats["bounds"]
                .as_list()
                .and_then(|bounds| bounds.get(index))
            {
                Some(bound) => format!("≤{}", duration(number(bound))),
                None => "more".to_owned(),
            },
            None => "-".to_owned(),
        }
    }
}

fn draw(last: &Picture, next: &Picture, url: &AdminUrl, columns: usize) -> String {
    // A wide terminal has more room for names and addresses.
    let more = columns.saturating_sub(MIN_COLUMNS);
    let seconds = (next.at - last.at).as_secs_f64().max(1e-9);
    let rate = |name: &str, labels: &[(&str, &str)]| {
        (next.sum(name, labels) - last.sum(name, labels)).max(0.0) / seconds
    };
    let mut text = String::new();
    let ready = if next.stats["ready"].as_bool() == Some(true) {
        "ready"
    } else {
        "not ready"
    };
    let uptime = duration(number(&next.stats["uptime"]));
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{url}  {ready}  up {uptime}\n");
    let _ = writeln!(
        text,
        "{:.1} requests/s  {} in flight  p50 {}  p99 {}",
        rate(REQUESTS, &[]),
        next.sum("agentwire_requests_in_flight", &[]),
        next.quantile(last, &[], 50),
        next.quantile(last, &[], 99),
    );
    let _ = writeln!(
        text,
        "in {}/s  out {}/s\n{} ejections  {} resyncs  {} refusals  {} registrations",
        bytes(rate("agentwire_received_bytes_total", &[])),
        bytes(rate("agentwire_sent_bytes_total", &[])),
        next.sum("agentwire_instance_ejections_total", &[]),
        next.sum("agentwire_watch_resyncs_total", &[]),
        next.sum("agentwire_refusals_total", &[]),
        next.sum("agentwire_registrations", &[]),
    );

    let mut names: Vec<(&str, &str)> = next
        .select(REQUESTS, &[])
        .filter_map(|one| {
            Some((
                one["labels"]["agent"].as_str()?,
                one["labels"]["method"].as_str()?,
            ))
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    let longest = names.iter().map(|(agent, _)| width(agent)).max();
    let name_width = longest.unwrap_or_default().clamp(22, 22 + more);
    let _ = writeln!(
        text,
        "\n{:<name_width$} {:<8} {:>10} {:>10} {:>8} {:>8} {:>8}",
        "NAME", "METHOD", "REQUESTS", "PER SECOND", "FAILED", "P50", "P99"
    );
    for (agent, method) in names {
        let labels = [("agent", agent), ("method", method)];
        let total = next.sum(REQUESTS, &labels);
        let ok = next.sum(REQUESTS, &[labels[0], labels[1], ("code", "OK")]);
        let name = if agent.is_empty() { "-" } else { agent };
        let _ = writeln!(
            text,
            "{} {} {total:>10} {:>10.1} {:>8} {:>8} {:>8}",
            cell(name, name_width),
            cell(method, 8),
            rate(REQUESTS, &labels),
            total - ok,
            next.quantile(last, &labels, 50),
            next.quantile(last, &labels, 99),
        );
    }

    let open = next.connections["connections"]
        .as_list()
        .unwrap_or_default();
    let open = &open[..open.len().min(SHOWN)];
    let peer = |one: &Value| {
        let peer = one["peer"].as_str().or(one["endpoint"].as_str());
        peer.unwrap_or("-").to_owned()
    };
    let longest = open.iter().map(|one| width(&peer(one))).max();
    let peer_width = longest.unwrap_or_default().clamp(40, 40 + more);
    let total = next.connections["total"].as_u64().unwrap_or_default();
    let _ = writeln!(
        text,
        "\n{:<peer_width$} {:<7} {:>9} {:>10} {:>10}",
        format!("CONNECTIONS ({total})"),
        "SIDE",
        "AGE",
        "REQUESTS",
        "IN FLIGHT"
    );
    for one in open {
        let _ = writeln!(
            text,
            "{} {} {:>9} {:>10} {:>10}",
            cell(&peer(one), peer_width),
            cell(one["side"].as_str().unwrap_or("-"), 7),
            duration(number(&one["age_seconds"])),
            one["requests"].as_u64().unwrap_or_default(),
            one["in_flight"].as_u64().unwrap_or_default(),
        );
    }
    let events = next.stats["events"].as_list().unwrap_or_default();
    if !events.is_empty() {
        text.push_str("\nEVENTS, newest first\n");
    }
    for event in events.iter().take(SHOWN) {
        let kind = cell(event["kind"].as_str().unwrap_or("-"), 10);
        let about = cell(event["text"].as_str().unwrap_or_default(), 69 + more);
        let _ = writeln!(text, "{kind} {}", about.trim_end());
    }
    text
}

#[allow(
    clippy::cast_precision_loss,
    reason = "the number is shown with fewer digits"
)]
fn number(value: &Value) -> f64 {
    let integer = || value.as_u64().map(|integer| integer as f64);
    value.as_f64().or_else(integer).unwrap_or_default()
}

/// Returns how many cells a text of a server takes on a terminal.
fn width(text: &str) -> usize {
    Escaped(text).to_string().width()
}

/// Returns a text of a server without commands for a terminal, cut or padded to a number of cells.
fn cell(text: &str, width: usize) -> String {
    let text = Escaped(text).to_string();
    let mut shown = text.as_str();
    let mut mark = "";
    if text.width() > width {
        mark = "…";
        while shown.width() >= width {
            shown = &shown[..shown.char_indices().next_back().map_or(0, |(at, _)| at)];
        }
    }
    let padding = width.saturating_sub(shown.width() + mark.width());
    format!("{shown}{mark}{:padding$}", "")
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.001 => format!("{:.0}us", seconds * 1e6),
        seconds if seconds < 1.0 => format!("{}ms", (seconds * 1e4).round() / 10.0),
        seconds if seconds < 120.0 => format!("{}s", (seconds * 10.0).round() / 10.0),
        seconds if seconds < 7200.0 => format!("{:.0}min", seconds / 60.0),
        seconds => format!("{:.1}h", seconds / 3600.0),
    }
}

fn bytes(mut count: f64) -> String {
    let mut units = ["B", "KiB", "MiB", "GiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if count < 1024.0 {
            break;
        }
        count /= 1024.0;
        unit = next;
    }
    format!("{count:.1} {unit}")
}

/// Reads a document of JSON. HTTP/1.0 ends the body with the connection.
async fn read(url: &AdminUrl, path: &str, token: Option<&str>) -> Result<Value, CliError> {
    let exchange = async {
        let mut stream = TcpStream::connect(url.address()).await?;
        let mut request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n", url.address());
        if let Some(token) = token {
            let _ = write!(request, "Authorization: Bearer {token}\r\n");
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let failed = |exit, text: &str| CliError::new(exit, format!("cannot read {url}{path}: {text}"));
    let answer = match timeout(TIMEOUT, exchange).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(failed(Exit::Unreachable, &error.to_string())),
        Err(_) => return Err(failed(Exit::TimedOut, "no answer within 10s")),
    };
    let status = answer.get(9..12).unwrap_or_default();
    if let b"401" | b"403" | b"429" = status {
        let text = String::from_utf8_lossy(&answer);
        let reason = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        return Err(failed(Exit::Remote, &Escaped(reason.trim()).to_string()));
    }
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let is_ok = answer.starts_with(b"HTTP/1.") && answer.get(8..12) == Some(b" 200");
    let body = end.filter(|_| is_ok).map(|end| &answer[end + 4..]);
    let value = body.and_then(|body| Format::Json.decode_value(body).ok());
    value.ok_or_else(|| failed(Exit::Protocol, "this URL is not an admin endpoint"))
}

const REQUESTS: &str = "agentwire_requests_total";
const DURATIONS: &str = "agentwire_request_duration_seconds";
const SHOWN: usize = 10;
/// The width of the tables, unless a terminal is wider and a name or an address is longer.
const MIN_COLUMNS: usize = 80;
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

const AFTER_HELP: &str = "\
Examples:
  agentwire top http://127.0.0.1:9090
  agentwire top http://127.0.0.1:9090 --interval 5s
  agentwire top http://127.0.0.1:9090 -n 1 | head -n 3";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_their_width_on_a_terminal() {
        for (text, expected) in [
            ("", "      "),
            ("echo", "echo  "),
            ("weathe", "weathe"),
            ("weather", "weath…"),
            ("天気予", "天気予"),
            ("天気予報", "天気… "),
            ("a天気予", "a天気…"),
            ("\x1b[2J", "\\u{1b…"),
        ] {
            assert_eq!(cell(text, 6), expected);
        }
    }

    #[test]
    fn a_wide_terminal_shows_long_names_and_addresses_in_full() {
        let (name, peer) = ("name".repeat(10), "peer".repeat(20));
        let stats = format!(
            r#"{{"metrics": [{{"name": "agentwire_requests_total", "value": 1,
                "labels": {{"agent": "{name}", "method": "process", "code": "OK"}}}}]}}"#
        );
        let connections = format!(r#"{{"total": 1, "connections": [{{"peer": "{peer}"}}]}}"#);
        let picture = Picture {
            stats: Format::Json.decode_value(stats.as_bytes()).unwrap(),
            connections: Format::Json.decode_value(connections.as_bytes()).unwrap(),
            at: Instant::now(),
        };
        let url = parse_admin_url("http://127.0.0.1:1").unwrap();
        for (columns, shows) in [(0, false), (80, false), (200, true)] {
            let text = draw(&picture, &picture, &url, columns);
            assert_eq!(text.contains(&name), shows, "{text}");
            assert_eq!(text.contains(&peer), shows, "{text}");
            let limit = columns.max(MIN_COLUMNS);
            assert!(text.lines().all(|line| line.width() <= limit), "{text}");
        }
    }
}
