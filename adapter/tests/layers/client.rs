//! The client's layers: each names only those below it, and no files name each other in a circle.

use std::path::Path;

use crate::modules::{Graph, Sources, circles, graph, read};

#[test]
fn the_layers_of_the_client_point_downwards_only() {
    assert_eq!(violations(&sources()), [""; 0]);
}

#[test]
fn a_path_to_a_layer_above_is_a_violation() {
    for (file, line, expected) in [
        (
            "client::channel::frames::pool",
            "use crate::client::router::Router;",
            "client::channel::frames::pool must not name client::router",
        ),
        (
            "client::router::selection",
            "fn f() -> super::super::call::Call {}",
            "client::router::selection must not name client::call",
        ),
        (
            "client::call",
            "use super::remote_agent::{self, RemoteAgent as Handle};",
            "client::call must not name client::remote_agent",
        ),
        (
            "connection",
            "use crate::client::RemoteAgent;",
            "connection must not name client",
        ),
    ] {
        let found = with_line(file, line);
        assert!(found.contains(&expected.to_owned()), "{line}: {found:?}");
    }
}

#[test]
fn a_circle_within_a_layer_is_a_violation() {
    for (file, line) in [
        ("client::router::health", "use super::instances::Instances;"),
        ("client::channel::frames::pool", "use super::Frames;"),
        ("client::call::retry", "type X = crate::client::call::Call;"),
    ] {
        let found = with_line(file, line);
        let is_circle = |violation: &String| violation.starts_with("circle: ");
        assert!(found.iter().any(is_circle), "{line}: {found:?}");
    }
}

#[test]
fn every_module_of_the_client_belongs_to_a_layer() {
    let all = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let outside: Vec<_> = all
        .keys()
        .filter(|module| part(module).starts_with("client") && layer(module).is_none())
        .collect();
    assert!(outside.is_empty(), "{outside:?}");
}

/// The violations once a line has been added to a file.
fn with_line(file: &str, line: &str) -> Vec<String> {
    let mut sources = sources();
    let text = sources.get_mut(file).unwrap();
    *text = format!("{line}\n{text}");
    violations(&sources)
}

/// The files of the layers.
fn sources() -> Sources {
    let mut sources = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    sources.retain(|module, _| layer(module).is_some());
    sources
}

fn violations(sources: &Sources) -> Vec<String> {
    let graph = graph(sources);
    let mut violations: Vec<_> = circles(&graph)
        .into_iter()
        .map(|circle| {
            let modules: Vec<_> = circle.into_iter().collect();
            format!("circle: {}", modules.join(", "))
        })
        .collect();
    violations.extend(back_edges(&graph));
    violations
}

fn back_edges(graph: &Graph) -> Vec<String> {
    let edges = graph
        .iter()
        .flat_map(|(module, named)| named.iter().map(move |other| (module, other)));
    edges
        .filter(|(module, other)| !may_name(module, other))
        .map(|(module, other)| format!("{module} must not name {other}"))
        .collect()
}

/// Whether a module may name another: in a layer below its own, or in the same part of its layer.
fn may_name(module: &str, other: &str) -> bool {
    part(module) == part(other) || layer(module) < layer(other)
}

/// The layer of a module, from the top; `None` if the module belongs to none.
fn layer(module: &str) -> Option<usize> {
    let part = part(module);
    LAYERS.iter().position(|parts| parts.contains(&part))
}

/// The part of a layer that a module belongs to: a module of the client or of the crate, with all
/// of its descendants.
fn part(module: &str) -> &str {
    let in_client = module.strip_prefix("client::").unwrap_or(module);
    let name = in_client.split("::").next().unwrap_or_default();
    &module[..module.len() - in_client.len() + name.len()]
}

/// The layers, from the top. Parts of one layer do not name each other.
const LAYERS: [&[&str]; 11] = [
    &["client"],
    &["client::remote_agent", "client::forward"],
    &["client::builder", "client::stream"],
    &["client::call"],
    &["client::router"],
    &["client::channel"],
    &["client::shared"],
    &["client::config", "client::permits"],
    &["client::connect", "client::retry_policy", "client::stats"],
    &["client::credentials"],
    &["connection", "deadline_timer"],
];
