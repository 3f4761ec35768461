//! Patterns of names: [`Pattern`].

/// A pattern in which `*` stands for any text and `?` for any one character. All other characters
/// stand for themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern(Box<str>);

impl Pattern {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// Returns whether the whole name matches. The time is at most proportional to the product of
    /// the lengths.
    pub(super) fn matches(&self, name: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.chars(), name.chars());
        // The state after the last `*`, from which the search continues with a longer text.
        let mut last_star: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
        loop {
            let mut next = pattern.clone();
            match (next.next(), rest.clone().next()) {
                (Some('*'), _) => {
                    pattern = next;
                    last_star = Some((pattern.clone(), rest.clone()));
                }
                (None, None) => return true,
                (Some(expected), Some(found)) if expected == '?' || expected == found => {
                    pattern = next;
                    rest.next();
                }
                _ => {
                    let Some((after_star, start)) = &mut last_star else {
                        return false;
                    };
                    if start.next().is_none() {
                        return false;
                    }
                    (pattern, rest) = (after_star.clone(), start.clone());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_whole_names() {
        for (pattern, matching, others) in [
            ("*", vec!["", "a", "weather"], vec![]),
            (
                "weather*",
                vec!["weather", "weather-oslo"],
                vec!["a weather", "Weather", ""],
            ),
            (
                "*a*b",
                vec!["ab", "xaxb", "aab", "abb"],
                vec!["a", "b", "ba", "abc"],
            ),
            ("w?", vec!["wé", "w*"], vec!["w", "wxy"]),
            ("", vec![""], vec!["a"]),
            ("a.c", vec!["a.c"], vec!["abc"]),
        ] {
            let pattern = Pattern::new(pattern);
            assert!(
                matching.iter().all(|name| pattern.matches(name)),
                "{pattern:?}"
            );
            assert!(
                !others.iter().any(|name| pattern.matches(name)),
                "{pattern:?}"
            );
        }
    }

    #[test]
    fn many_stars_do_not_take_exponential_time() {
        assert!(!Pattern::new("*a".repeat(60) + "b").matches(&"a".repeat(2000)));
    }
}
