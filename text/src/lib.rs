//! Shows the texts of peers safely. Part of [agentwire](https://docs.rs/agentwire).
//!
//! A text that a peer chose must not reach a log, an error, a table or a terminal as it is: it may
//! hold a newline that forges a log line, an escape sequence that controls the terminal, or five
//! megabytes. [`Untrusted`] is the one way to show it.
//!
//! ```
//! use agentwire_text::Untrusted;
//!
//! let id = "x\n2026-01-01 ERROR forged \u{1b}[31m";
//! assert_eq!(Untrusted(id).to_string(), r"x\n2026-01-01 ERROR forged \u{1b}[31m");
//!
//! let name = "a".repeat(5_000_000);
//! assert_eq!(Untrusted(&name).to_string(), "a".repeat(200) + "… (5000000 bytes)");
//! ```

mod excerpt;
mod untrusted;

pub use self::{excerpt::excerpt, untrusted::Untrusted};

/// The number of characters of a text that are shown.
pub const MAX_CHARS: usize = 200;
