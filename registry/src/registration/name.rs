use crate::{NameProblem, RegistryError};

/// The longest name, in bytes.
const MAX_LEN: usize = 255;

/// Checks a name: 1 to 255 bytes, no control characters, no white space at its ends.
///
/// # Errors
///
/// [`RegistryError::InvalidName`].
pub fn check_name(name: &str) -> Result<(), RegistryError> {
    let problem = if name.is_empty() {
        NameProblem::Empty
    } else if name.len() > MAX_LEN {
        NameProblem::TooLong {
            len: name.len(),
            max: MAX_LEN,
        }
    } else if name.chars().any(char::is_control) {
        NameProblem::Control
    } else if name.trim().len() != name.len() {
        NameProblem::OuterSpace
    } else {
        return Ok(());
    };
    Err(RegistryError::InvalidName {
        name: shortened(name),
        problem,
    })
}

/// What of a name goes into an error.
fn shortened(name: &str) -> String {
    const SHOWN: usize = 64;
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(name: &str) -> Option<NameProblem> {
        match check_name(name) {
            Err(RegistryError::InvalidName { problem, .. }) => Some(problem),
            _ => None,
        }
    }

    #[test]
    fn usual_names_pass() {
        for name in ["a", "weather", "weather report", "天気", &"x".repeat(255)] {
            assert_eq!(problem(name), None, "{name:?}");
        }
    }

    #[test]
    fn what_could_not_be_told_apart_or_shown_is_refused() {
        let long = "é".repeat(128);
        for (name, expected) in [
            ("", NameProblem::Empty),
            (&*long, NameProblem::TooLong { len: 256, max: 255 }),
            ("a\nb", NameProblem::Control),
            ("a\u{85}b", NameProblem::Control),
            (" a", NameProblem::OuterSpace),
            ("a\u{3000}", NameProblem::OuterSpace),
        ] {
            assert_eq!(problem(name), Some(expected), "{name:?}");
        }
    }

    #[test]
    fn an_error_shows_no_more_than_the_start_of_a_long_name() {
        let error = check_name(&"é".repeat(10_000)).unwrap_err();
        assert!(error.to_string().len() < 300, "{error}");
    }
}
