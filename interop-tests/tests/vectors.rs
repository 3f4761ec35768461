//! Checks that Python still writes the golden vectors of the codec.

use agentwire_interop_tests::{TestFailure, TestResult, script_command};

fn compare_with_python(format: &str, kept: &str) -> TestResult {
    let output = script_command("vectors.py", &[format])?.output()?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(TestFailure::new(format!("vectors.py failed:\n{stderr}")));
    }
    let made = String::from_utf8(output.stdout)?;
    let differs = made
        .lines()
        .zip(kept.lines())
        .find(|(made, kept)| made != kept);
    if let Some((made, kept)) = differs {
        let text = format!("vectors.py writes\n{made}\n  and codec/tests/vectors has\n{kept}");
        return Err(TestFailure::new(text));
    }
    if made.lines().count() != kept.lines().count() {
        return Err(TestFailure::new(
            "vectors.py writes a different number of vectors than codec/tests/vectors has",
        ));
    }
    Ok(())
}

#[test]
fn python_writes_the_json_vectors() -> TestResult {
    let kept = include_str!("../../codec/tests/vectors/json.json");
    compare_with_python("json", kept)
}

#[test]
fn python_writes_the_messagepack_vectors() -> TestResult {
    let kept = include_str!("../../codec/tests/vectors/msgpack.json");
    compare_with_python("msgpack", kept)
}
