//! Runs the code blocks of the README and of the guide, and compiles those of the packages' own
//! READMEs as doctests.

#[allow(missing_docs, unreachable_pub, reason = "shared with the build script")]
pub mod document;

#[cfg(doctest)]
#[doc = include_str!("../../adapter/README.md")]
struct AdapterReadme;
