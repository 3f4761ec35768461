//! The dashboard and the alert rules use the metrics that the guide lists.

use std::collections::BTreeSet;

use crate::metrics::documented;

const DASHBOARD: &str = include_str!("../../../docs/observability/dashboard.json");
const RULES: &str = include_str!("../../../docs/observability/alerts.yml");

/// Returns the names of the metrics in the queries of a text.
fn queried(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let names = text.split(|c: char| !is_part(c));
    names
        .filter(|name| name.starts_with("agentwire_"))
        .map(|name| name.trim_end_matches("_bucket"))
        .collect()
}

#[test]
fn the_dashboard_has_a_panel_for_each_metric_of_the_guide() {
    let listed: BTreeSet<_> = documented().keys().map(String::as_str).collect();
    assert_eq!(queried(DASHBOARD), listed);
}

#[test]
fn the_alert_rules_use_metrics_of_the_guide_only() {
    for name in queried(RULES) {
        assert!(documented().contains_key(name), "{name}");
    }
    assert!(!queried(RULES).is_empty());
}
