//! The golden vectors of the codec are what Python writes, now as when they were made.

use agentwire_interop_tests::{Failure, Outcome, script_command};

fn are_as_python_writes_them(format: &str, kept: &str) -> Outcome {
    let output = script_command("vectors.py", &[format])?.output()?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!("vectors.py failed:\n{stderr}")));
    }
    let made = String::from_utf8(output.stdout)?;
    let differs = made
        .lines()
        .zip(kept.lines())
        .find(|(made, kept)| made != kept);
    if let Some((made, kept)) = differs {
        let text = format!("vectors.py writes\n{made}\n  and codec/tests/vectors has\n{kept}");
        return Err(Failure::new(text));
    }
    if made.lines().count() != kept.lines().count() {
        return Err(Failure::new(
            "vectors.py writes more or fewer than codec/tests/vectors has",
        ));
    }
    Ok(())
}

#[test]
fn json_vectors_are_as_python_writes_them() -> Outcome {
    let kept = include_str!("../../codec/tests/vectors/json.json");
    are_as_python_writes_them("json", kept)
}

#[test]
fn messagepack_vectors_are_as_python_writes_them() -> Outcome {
    let kept = include_str!("../../codec/tests/vectors/msgpack.json");
    are_as_python_writes_them("msgpack", kept)
}
