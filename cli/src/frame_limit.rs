//! The parsers for sizes on the command line.

use agentwire::FrameLimits;

/// Parses the option `--frame-limit`: a number of bytes, with an optional unit.
pub(crate) fn parse_frame_limit(text: &str) -> Result<FrameLimits, String> {
    // The length of a frame has 32 bits.
    let bytes = parse_bytes(text, u32::MAX as usize)?;
    Ok(FrameLimits::default().send(bytes).receive(bytes))
}

/// Parses the option `--memory-budget`: a number of bytes, with an optional unit.
pub(crate) fn parse_memory_budget(text: &str) -> Result<usize, String> {
    parse_bytes(text, isize::MAX.unsigned_abs())
}

fn parse_bytes(text: &str, max: usize) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: usize = match &text[digits.len()..] {
        "" | "B" => 1,
        "kB" | "KB" => 1_000,
        "KiB" | "K" => 1 << 10,
        "MB" => 1_000_000,
        "MiB" | "M" => 1 << 20,
        "GB" => 1_000_000_000,
        "GiB" | "G" => 1 << 30,
        unit => {
            return Err(format!(
                "unknown unit {unit:?}; use B, kB, KiB, MB, MiB, GB or GiB"
            ));
        }
    };
    let bytes = digits.parse::<usize>().ok();
    let bytes = bytes.and_then(|bytes| bytes.checked_mul(unit));
    bytes.filter(|bytes| (1..=max).contains(bytes)).ok_or_else(|| {
        format!(
            "invalid size {text:?}; use a whole number from 1 to {max} bytes, as in 500kB or 16MiB"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_decimal_and_binary_units() {
        for (text, bytes) in [
            ("1", 1),
            ("500kB", 500_000),
            ("16MiB", 16 << 20),
            ("20MB", 20_000_000),
            ("4294967295", 4_294_967_295),
        ] {
            let limits = parse_frame_limit(text).unwrap();
            assert_eq!((limits.max_send(), limits.max_receive()), (bytes, bytes));
        }
        for text in [
            "",
            "0",
            "-1",
            "MiB",
            "1.5MiB",
            "16 MiB",
            "16mb",
            "4GiB",
            "99999999999999999999",
        ] {
            assert!(parse_frame_limit(text).is_err(), "{text}");
        }
    }
}
