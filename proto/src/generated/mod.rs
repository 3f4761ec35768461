//! The messages that `agenkit.proto` defines. `tests/generated.rs` generates and checks them.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::use_self,
    reason = "the code is generated"
)]

use std::fmt;

include!("agenkit.rs");

/// Formats the name of the message only, because the content of a message must not be logged.
macro_rules! debug_without_content {
    ($($message:ident)*) => {$(
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message)).finish_non_exhaustive()
            }
        }
    )*};
}

debug_without_content! { Request Response StreamChunk Message ToolCall ToolResult Error }
