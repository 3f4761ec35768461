//! Safe display of texts from peers. This crate is part of [agentwire](https://docs.rs/agentwire).
//!
//! A text that a peer chose must not be written unchanged to a log, an error, a table or a
//! terminal. Such a text can contain a newline that forges a log line, or an escape sequence that
//! controls the terminal, and it can be several megabytes long. [`Untrusted`] displays such a text
//! safely.
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

pub use self::{
    excerpt::excerpt,
    untrusted::{Escaped, Untrusted},
};

/// The maximum number of characters of a text that are displayed.
pub const MAX_CHARS: usize = 200;

/// The maximum number of characters of a line that are displayed.
pub const MAX_LINE_CHARS: usize = 2000;
