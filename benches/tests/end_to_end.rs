//! Runs the comparison from processes to plots, too briefly for meaningful numbers.

#![allow(clippy::unwrap_used, reason = "an unexpected result fails the test")]
#![cfg(target_os = "linux")]

use std::{fs, path::Path, process::Command};

use serde_json::Value;

fn run(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_agentwire-benches"))
        .args(args)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

#[test]
fn a_comparison_writes_tables_and_plots() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name| directory.path().join(name);
    let (compared, scaled) = (path("compare.json"), path("scale.json"));
    let (compared, scaled) = (compared.to_str().unwrap(), scaled.to_str().unwrap());

    let peers = "raw-serde-json,agentwire,multiplexer";
    let short = [
        "compare",
        "--seconds",
        "0.01",
        "--rounds",
        "1",
        "--peers",
        peers,
    ];
    let table = run(&[&short[..], &["--json", compared]].concat());
    assert!(table.contains("| agentwire, JSON |"), "{table}");
    let comparison = read(Path::new(compared));
    let samples = comparison["samples"].as_array().unwrap();
    for peer in peers.split(',') {
        let speed = samples
            .iter()
            .find(|sample| sample["peer"] == peer && sample["metric"] == "calls-per-second");
        let speed = speed.unwrap()["values"][0].as_f64().unwrap();
        assert!(speed > 1.0, "{peer}: {speed} calls/s");
    }

    let short = [
        "scale",
        "--seconds",
        "0.1",
        "--connections",
        "1,20",
        "--peers",
        "agentwire",
    ];
    run(&[&short[..], &["--json", scaled]].concat());
    let growth = read(Path::new(scaled));
    let step = &growth["steps"][1];
    assert_eq!(step["errors"], 0);
    assert!(step["fewest"].as_u64().unwrap() > 0, "{step}");

    let document = path("document.md");
    fs::write(&document, "<!-- aims --><!-- /aims -->").unwrap();
    let args = ["plot", "--compare", compared, "--scale", scaled];
    let plots = path("plots");
    let outputs = [
        "--plots",
        plots.to_str().unwrap(),
        "--document",
        document.to_str().unwrap(),
    ];
    run(&[&args[..], &outputs].concat());
    let aims = fs::read_to_string(&document).unwrap();
    assert!(
        aims.contains("1 x 64, calls/s, to the usual multiplexer"),
        "{aims}"
    );
    for plot in ["latency.svg", "throughput.svg", "scaling.svg"] {
        let plot = fs::read_to_string(plots.join(plot)).unwrap();
        assert!(plot.starts_with("<svg") && !plot.contains("NaN"), "{plot}");
    }
}
