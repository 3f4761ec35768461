use crate::fixtures::{decode, wire};

#[test]
fn debug_shows_nothing_of_what_is_said() {
    let secret = r#""hunter2""#;
    let told = format!(r#"{{"role": "user", "content": {secret}, "metadata": {{"k": {secret}}}}}"#);
    for (kind, payload) in [
        (
            "request",
            format!(r#"{{"method": "process", "message": {told}}}"#),
        ),
        (
            "request",
            format!(r#"{{"method": "dance", "message": {secret}}}"#),
        ),
        (
            "request",
            format!(r#"{{"method": "execute", "tool_name": "t", "kwargs": {{"k": {secret}}}}}"#),
        ),
        ("response", format!(r#"{{"message": {told}}}"#)),
        (
            "response",
            format!(
                r#"{{"result": {{"success": true, "data": {secret}, "metadata": {{"k": {secret}}}}}}}"#
            ),
        ),
        ("response", format!(r#"{{"told": {secret}}}"#)),
        ("stream_chunk", format!(r#"{{"message": {told}}}"#)),
        (
            "error",
            format!(r#"{{"error_code": "A", "error_details": {{"k": {secret}}}}}"#),
        ),
        (
            "register",
            format!(r#"{{"capabilities": {{"k": {secret}}}, "metadata": {{"k": {secret}}}}}"#),
        ),
    ] {
        let shown = format!("{:?}", decode(&wire(kind, &payload)).unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let malformed = format!(r#"{{"message": {{"role": "", "content": {secret}}}}}"#);
    let shown = format!(
        "{:?}",
        decode(&wire("stream_chunk", &malformed)).unwrap_err()
    );
    assert!(
        shown.contains("role is empty") && !shown.contains("hunter2"),
        "{shown}"
    );
}
