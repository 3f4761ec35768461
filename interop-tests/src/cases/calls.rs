//! Cases with single calls that transfer text, values and metadata.

use agentwire::{Format, Map};
use bytes::Bytes;

use super::{client, echo, echo_with, map, named_client, value};
use crate::{Target, TestResult};

/// Makes one call and checks the reply.
pub async fn simple_call(target: Target<'_>) -> TestResult {
    echo(&client(target)?, "hello").await
}

/// Sends many kinds of text, in the content and as keys and values of the metadata.
pub async fn unicode(target: Target<'_>) -> TestResult {
    let every_plane = (0..17)
        .filter_map(|plane| char::from_u32(plane << 16 | 0xe9))
        .chain(['\u{ffff}', '\u{10ffff}']);
    let control_characters = ('\0'..' ').chain('\u{7f}'..'\u{a0}');
    let texts: [String; 7] = [
        every_plane.collect(),
        "😀 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇺🇳".into(),
        // Right-to-left text with direction marks.
        "\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{202e}\u{645}\u{631}\u{62d}\u{628}\u{627}\u{202c}".into(),
        // Decomposed and composed characters.
        "e\u{301} \u{e9} \u{1100}\u{1161}\u{11a8} \u{ac01}".into(),
        control_characters.collect(),
        // Various separators, and a byte-order mark in the middle of the text.
        "\u{2028}\u{2029}\u{a0}\u{200b}\u{feff}".into(),
        // Characters that JSON escapes, characters that Go escapes, and text that looks like an
        // escape.
        "\"\\/\u{8}\u{c}\n\r\t <>& \\u0041 \\n".into(),
    ];
    let client = client(target)?;
    for text in texts {
        let key: String = text.chars().take(KEY_LENGTH).collect();
        let metadata = Map::from([(key, text.as_str())]);
        echo_with(&client, text, metadata).await?;
    }
    Ok(())
}

/// Sends values of every kind. All digits and the order of keys must be preserved.
pub async fn structured_content(target: Target<'_>) -> TestResult {
    let contents = [
        r#"{"z": [[], {}, [[[1]]]], "a": {"y": {"x": {}}, "b": [{"q": 1, "c": 2}]}, "": null}"#,
        // The limits of each integer size, and 2^53 + 1.
        "[0, -1, 31, -33, 256, 65536, 4294967296, 9007199254740993, 9223372036854775807, \
         -9223372036854775808, 18446744073709551615]",
        "[0.0, -0.0, 1.0, 0.1, 0.0001, 1e-05, 1e15, 1e16, 1.5e300, 5e-324, 1.7976931348623157e308]",
        "[Infinity, -Infinity, NaN]",
        r#"[true, false, null, 0, 1, 0.0, 1.0, "", "0"]"#,
        "true",
        "7",
        "-2.5",
    ];
    let client = client(target)?;
    for content in contents {
        echo(&client, value(content)?).await?;
    }
    // Values that only one of the formats supports.
    if target.format == Format::MessagePack {
        let every_byte: Bytes = (0..=u8::MAX).collect();
        return echo(
            &client,
            vec![Bytes::new(), every_byte, vec![0xff; 70_000].into()],
        )
        .await;
    }
    let beyond_64_bits = "[18446744073709551616, \
         1606938044258990275541962092341162602522202993782792835301376, \
         -1606938044258990275541962092341162602522202993782792835301376]";
    echo(&client, value(beyond_64_bits)?).await
}

/// Sends null as the content.
pub async fn null_content(target: Target<'_>) -> TestResult {
    echo(&client(target)?, ()).await
}

/// Sends nested metadata, which must keep the order of its keys.
pub async fn metadata(target: Target<'_>) -> TestResult {
    let nested = r#"{"do": "echo", "z": {"b": [1, {"y": null}], "a": {}}, "m": []}"#;
    let client = client(target)?;
    echo_with(&client, "with metadata", map(nested)?).await?;
    echo(&client, "without metadata").await
}

/// Sends an empty string as the content.
pub async fn empty_message(target: Target<'_>) -> TestResult {
    echo(&client(target)?, "").await
}

/// Sends 1 MiB of ASCII text, and then 1 MiB of text whose size triples when it is escaped.
pub async fn one_mib_message(target: Target<'_>) -> TestResult {
    let client = client(target)?;
    for pattern in ["0123456789abcdef", "é😀ö"] {
        echo(&client, pattern.repeat(MIB / pattern.len())).await?;
    }
    Ok(())
}

/// Calls a server with a single agent by a different name, which the server must accept (PROTOCOL
/// 6.5).
pub async fn any_name(target: Target<'_>) -> TestResult {
    echo(&named_client(target, "another agent")?, "hello").await
}

const MIB: usize = 1024 * 1024;

/// The maximum length of a metadata key that agenkit accepts, in characters.
const KEY_LENGTH: usize = 50;
