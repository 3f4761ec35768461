"use strict";
// All texts are set with textContent, because names and addresses come from peers.

const INTERVAL = 1000;
// Seconds over which rates and latencies are taken.
const RATE_WINDOW = 10;
const LATENCY_WINDOW = 60;
// What was read within the longer window, the oldest first.
let readings = [];

const byId = (id) => document.getElementById(id);

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function number(value, digits = 0) {
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) { value /= 1024; unit += 1; }
  return `${number(value, value < 10 && unit > 0 ? 1 : 0)} ${units[unit]}`;
}

function duration(seconds) {
  if (seconds < 0.001) return `${number(seconds * 1e6)} µs`;
  if (seconds < 1) return `${number(seconds * 1e3, seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 120) return `${number(seconds, 1)} s`;
  if (seconds < 7200) return `${number(seconds / 60)} min`;
  return `${number(seconds / 3600, 1)} h`;
}

function select(stats, name, labels = {}) {
  return stats.metrics.filter((metric) => metric.name === name &&
    Object.entries(labels).every(([key, value]) => metric.labels[key] === value));
}

function sum(stats, name, labels) {
  return select(stats, name, labels).reduce((total, metric) => total + metric.value, 0);
}

function counts(stats, name, labels) {
  const total = new Array(stats.bounds.length + 1).fill(0);
  for (const metric of select(stats, name, labels)) {
    metric.counts.forEach((count, index) => { total[index] += count; });
  }
  return total;
}

// What was read at the start of a window, if anything was.
function before(now, span) {
  return readings.find((one) => one.uptime >= now.uptime - span - INTERVAL / 2000);
}

// The durations of the requests that ended in the last minute, or since the page was opened.
function latencies(now, labels) {
  const name = "agentwire_request_duration_seconds";
  const then = before(now, LATENCY_WINDOW);
  const old = then ? counts(then, name, labels) : counts(now, name, labels);
  return counts(now, name, labels).map((count, index) => count - old[index]);
}

// The bounds of the bucket that contains the quantile.
function quantile(stats, buckets, q) {
  const total = buckets.reduce((one, other) => one + other, 0);
  let seen = 0;
  const index = buckets.findIndex((count) => {
    seen += count;
    return total > 0 && seen >= q * total;
  });
  if (index < 0) return "–";
  const bound = stats.bounds[index];
  return bound === undefined ? `> ${duration(stats.bounds[index - 1])}` : `≤ ${duration(bound)}`;
}

function rate(now, name, labels) {
  const then = before(now, RATE_WINDOW);
  if (!then) return 0;
  const seconds = now.uptime - then.uptime;
  return seconds > 0 ? Math.max(0, sum(now, name, labels) - sum(then, name, labels)) / seconds : 0;
}

function table(id, head, rows, empty) {
  const made = byId(id);
  const top = element("tr");
  head.forEach(([name, className]) => top.append(element("th", name, className)));
  const lines = rows.map((row) => {
    const line = element("tr");
    row.forEach((text, index) => {
      const cell = element("td", text, head[index][1]);
      // On a phone, a row is a card, and each number has its name beside it.
      cell.dataset.name = head[index][0];
      line.append(cell);
    });
    return line;
  });
  if (rows.length === 0) {
    const line = element("tr");
    const cell = element("td", empty, "quiet long");
    cell.colSpan = head.length;
    line.append(cell);
    lines.push(line);
  }
  made.replaceChildren(top, ...lines);
}

function show(stats, open) {
  const ready = byId("ready");
  ready.textContent = stats.ready ? "ready" : "not ready";
  ready.className = `badge ${stats.ready ? "good" : "bad"}`;
  const notes = Object.entries(stats.checks).filter(([, state]) => state !== "ok");
  byId("about").textContent = `${stats.version} · up ${duration(stats.uptime)}` +
    notes.map(([check, state]) => ` · ${check}: ${state}`).join("");

  // A server that was started again counts from zero.
  readings = readings.filter((one) => one.uptime < stats.uptime &&
    one.uptime >= stats.uptime - LATENCY_WINDOW - INTERVAL / 1000);
  const durations = latencies(stats, {});
  const failures = sum(stats, "agentwire_requests_total") -
    sum(stats, "agentwire_requests_total", { code: "OK" });
  const tiles = [
    [number(rate(stats, "agentwire_requests_total"), 1), "requests per second"],
    [number(sum(stats, "agentwire_requests_in_flight")), "in flight"],
    [quantile(stats, durations, 0.5), "p50"],
    [quantile(stats, durations, 0.99), "p99"],
    [number(failures), "failed requests", failures > 0 ? "bad" : ""],
    [number(sum(stats, "agentwire_connections", { side: "server" })), "connections"],
    [`${bytes(rate(stats, "agentwire_received_bytes_total"))}/s`, "received"],
    [`${bytes(rate(stats, "agentwire_sent_bytes_total"))}/s`, "sent"],
    [number(sum(stats, "agentwire_instance_ejections_total")), "ejections"],
    [number(sum(stats, "agentwire_registrations")), "registrations"],
  ];
  byId("tiles").replaceChildren(...tiles.map(([value, name, mood]) => {
    const tile = element("div");
    tile.append(element("b", value, mood), element("span", name));
    return tile;
  }));

  const largest = Math.max(1, ...durations);
  byId("histogram").replaceChildren(...durations.map((count, index) => {
    const bound = stats.bounds[index];
    const label = bound === undefined ? "more" : duration(bound);
    const column = element("div");
    column.title = `${bound === undefined ? "more" : "up to " + label}: ${number(count)}`;
    const bar = element("i");
    bar.style.height = `calc(${count / largest} * (100% - 1.1rem))`;
    column.append(bar, element("small", label));
    return column;
  }));

  const agents = new Map();
  for (const metric of select(stats, "agentwire_requests_total")) {
    const { agent, method, code } = metric.labels;
    const key = JSON.stringify([agent, method]);
    const entry = agents.get(key) || { agent, method, total: 0, failed: 0 };
    entry.total += metric.value;
    if (code !== "OK") entry.failed += metric.value;
    agents.set(key, entry);
  }
  const right = "number";
  table("agents",
    [["name", "long"], ["method"], ["requests", right], ["per second", right], ["failed", right], ["p50", right], ["p99", right]],
    [...agents.values()].map(({ agent, method, total, failed }) => {
      const of = latencies(stats, { agent, method });
      return [agent || "–", method, number(total), number(rate(stats, "agentwire_requests_total", { agent, method }), 1),
        number(failed), quantile(stats, of, 0.5), quantile(stats, of, 0.99)];
    }),
    "no requests");

  const shown = open.connections.length;
  byId("shown").textContent = shown < open.total ? `${number(shown)} of ${number(open.total)}` : "";
  table("connections",
    [["peer", "long"], ["endpoint", "long"], ["side"], ["age", right], ["requests", right], ["in flight", right], ["failed", right]],
    open.connections.map((one) => [one.peer || "–", one.endpoint, one.side, duration(one.age_seconds),
      number(one.requests), number(one.in_flight), number(one.failed)]),
    "no connections");

  table("events",
    [["time"], ["event"], ["about", "long"]],
    stats.events.map((event) => [new Date(event.time * 1000).toLocaleTimeString("en-GB"), event.kind, event.text]),
    "no refusals, ejections or changes of a registry");
  readings.push(stats);
}

async function read(path) {
  const answer = await fetch(path, { cache: "no-store" });
  if (!answer.ok) throw new Error(answer.status);
  return answer.json();
}

async function update() {
  try {
    const [stats, open] = await Promise.all([read("stats"), read("connections")]);
    show(stats, open);
  } catch {
    const ready = byId("ready");
    ready.textContent = "not reachable";
    ready.className = "badge bad";
  }
  setTimeout(update, INTERVAL);
}

update();
