//! Compiles and runs the programs in the README and in the packages' own READMEs, as doctests.

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../adapter/README.md")]
struct AdapterReadme;
