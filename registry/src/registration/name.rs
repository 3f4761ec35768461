//! Checks the names of agents.

use crate::{NameProblem, RegistryError};

/// Checks the name of an agent. A name must have 1 to 255 bytes, must not contain control
/// characters, and must not begin or end with white space.
///
/// # Errors
///
/// Returns [`RegistryError::InvalidName`] if the name is invalid.
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

/// Shortens text for an error message.
pub(super) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The maximum length of a name, in bytes.
const MAX_LEN: usize = 255;

/// The maximum number of characters of a name in an error message.
const MAX_SHOWN: usize = 64;

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
    fn usual_names_are_accepted() {
        for name in ["a", "weather", "weather report", "天気", &"x".repeat(255)] {
            assert_eq!(problem(name), None, "{name:?}");
        }
    }

    #[test]
    fn names_that_are_ambiguous_or_cannot_be_displayed_are_refused() {
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
    fn an_error_shows_only_the_start_of_a_long_name() {
        let error = check_name(&"é".repeat(10_000)).unwrap_err();
        assert!(error.to_string().len() < 300, "{error}");
    }
}
