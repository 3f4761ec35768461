//! The error type of the tests, and functions that check values.

use std::{error::Error, fmt};

use agentwire::transport::internal::Chain;

/// The result of a case or a test.
pub type TestResult = Result<(), TestFailure>;

/// The reason why a case or a test failed, as text.
///
/// Any error can be converted into a `TestFailure`, whose text then includes the source chain.
/// `TestFailure` does not implement `Error`, because that would conflict with this conversion. The
/// `Debug` output is the plain text, because the test harness prints it.
pub struct TestFailure(String);

impl TestFailure {
    /// Creates a failure with the given text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Prepends the activity that failed to the text.
    #[must_use]
    pub fn during(self, activity: impl fmt::Display) -> Self {
        Self(format!("{activity}: {}", self.0))
    }
}

impl<E: Error> From<E> for TestFailure {
    fn from(error: E) -> Self {
        Self(Chain(&error).to_string())
    }
}

impl fmt::Display for TestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TestFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks that two values are equal.
///
/// # Errors
///
/// Returns an error with both values if they differ.
pub fn expect<A, W>(what: impl fmt::Display, actual: &A, wanted: &W) -> TestResult
where
    A: PartialEq<W> + fmt::Debug + ?Sized,
    W: fmt::Debug + ?Sized,
{
    expect_that(actual == wanted, || {
        format!("{what}: expected {wanted:#?}, got {actual:#?}")
    })
}

/// Checks a condition.
///
/// # Errors
///
/// Returns an error with the text if the condition is false.
pub fn expect_that(condition: bool, text: impl FnOnce() -> String) -> TestResult {
    if condition {
        Ok(())
    } else {
        Err(TestFailure::new(text()))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug)]
    struct Outer(io::Error);

    impl fmt::Display for Outer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the call failed")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_failure_names_the_whole_chain_of_causes() {
        let failure = TestFailure::from(Outer(io::Error::other("the cable is unplugged")));
        assert_eq!(
            failure.during("in the lab").to_string(),
            "in the lab: the call failed: the cable is unplugged"
        );
    }
}
