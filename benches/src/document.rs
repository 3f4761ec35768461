//! Replacement of the generated parts of a document.

use std::{collections::BTreeMap, fs, path::Path};

use crate::BenchError;

/// Replaces the text between `<!-- NAME -->` and `<!-- /NAME -->` in a file for each name that
/// occurs in the file.
pub(crate) fn fill(file: &Path, parts: &BTreeMap<&str, String>) -> Result<(), BenchError> {
    let text = fs::read_to_string(file)?;
    let mut filled = text.clone();
    for (name, part) in parts {
        filled =
            replace(&filled, name, part).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    if filled != text {
        fs::write(file, filled)?;
    }
    Ok(())
}

fn replace(text: &str, name: &str, part: &str) -> Result<String, BenchError> {
    let (begin, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let Some((before, rest)) = text.split_once(&begin) else {
        return Ok(text.to_owned());
    };
    let (_, after) = rest
        .split_once(&end)
        .ok_or_else(|| format!("{begin} without {end}"))?;
    Ok(format!(
        "{before}{begin}\n{}\n{end}{after}",
        part.trim_end()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_between_the_marks_is_replaced() {
        let text = "a\n<!-- t -->\nold\nold\n<!-- /t -->\nb\n";
        let filled = replace(text, "t", "new\n").unwrap();
        assert_eq!(filled, "a\n<!-- t -->\nnew\n<!-- /t -->\nb\n");
        assert_eq!(replace(&filled, "t", "new\n").unwrap(), filled);
        assert_eq!(replace(text, "other", "new").unwrap(), text);
        assert!(replace("<!-- t -->", "t", "new").is_err());
    }
}
