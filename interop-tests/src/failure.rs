use std::{error::Error, fmt};

/// How a case or a test ends.
pub type Outcome = Result<(), Failure>;

/// Why a case or a test failed, for people.
///
/// Any error turns into one, with all that caused it. It is not an error itself, so that this is
/// possible. Its `Debug` is the bare text: that is what a test that returns it prints.
pub struct Failure(String);

impl Failure {
    /// A failure with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The same failure, and what was being done.
    #[must_use]
    pub fn during(self, what: impl fmt::Display) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        Self(text)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Compares two values.
///
/// # Errors
///
/// Both values, if they differ.
pub fn expect<A, W>(what: impl fmt::Display, actual: &A, wanted: &W) -> Outcome
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
/// The text, if it does not hold.
pub fn expect_that(condition: bool, text: impl FnOnce() -> String) -> Outcome {
    if condition {
        Ok(())
    } else {
        Err(Failure::new(text()))
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
    fn a_failure_tells_the_whole_chain_of_causes() {
        let failure = Failure::from(Outer(io::Error::other("the cable is out")));
        assert_eq!(
            failure.during("at home").to_string(),
            "at home: the call failed: the cable is out"
        );
    }
}
