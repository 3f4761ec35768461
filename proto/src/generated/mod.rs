//! The messages that the files in `definitions/` define. `tests/generated.rs` generates and checks
//! them.

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

pub mod health {
    //! The messages of the health service, `grpc.health.v1`.

    include!("grpc.health.v1.rs");
}

pub mod reflection {
    //! The messages of the reflection service, `grpc.reflection.v1` and `v1alpha`.

    include!("grpc.reflection.v1.rs");
}
