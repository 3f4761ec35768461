//! Links of the documents lead somewhere: on GitHub, and in the book that mdBook makes of the guide.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Component, Path, PathBuf},
};

#[test]
fn links_lead_to_files_and_headings() {
    let (mut problems, mut count) = (Vec::new(), 0);
    for file in files(repository(), "md") {
        let text = read(&file);
        for link in links(&text) {
            count += 1;
            if let Err(problem) = check(&file, &text, &link) {
                problems.push(format!("{}: {link}: {problem}", name(&file)));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count >= 100, "only {count} links");
}

/// The book contains only the files below its source folder. Links of included files are relative to
/// the chapter.
#[test]
fn links_of_the_guide_stay_in_the_book() {
    let guide = guide();
    let mut problems = Vec::new();
    for chapter in files(&guide, "md") {
        for link in links(&read(&chapter)) {
            let target = target(&chapter, &link);
            let is_address = link.starts_with(REPOSITORY);
            if !is_address && target.is_some_and(|target| !target.starts_with(&guide)) {
                problems.push(format!("{}: {link}", name(&chapter)));
            }
        }
    }
    assert!(
        problems.is_empty(),
        "these links are dead in the book; link {REPOSITORY}… instead:\n{}",
        problems.join("\n")
    );
}

/// The documentation of the API names files of the repository by their address.
#[test]
fn addresses_in_the_sources_name_files() {
    let (mut problems, mut count) = (Vec::new(), 0);
    for file in files(repository(), "rs") {
        let text = fs::read_to_string(&file).unwrap();
        for rest in text.split(REPOSITORY).skip(1) {
            let end = rest.find(|c: char| c.is_whitespace() || ")>\"'`…{".contains(c));
            let path = &rest[..end.unwrap_or(rest.len())];
            // The pattern itself, in a test.
            if path.is_empty() {
                continue;
            }
            count += 1;
            if let Err(problem) = check(&file, "", &format!("{REPOSITORY}{path}")) {
                problems.push(format!("{}: {path}: {problem}", name(&file)));
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    assert!(count >= 50, "only {count} addresses");
}

/// Checks that the file of a link exists, and that it has the heading.
fn check(file: &Path, text: &str, link: &str) -> Result<(), &'static str> {
    let Some(target) = target(file, link) else {
        return Ok(());
    };
    if !target.exists() {
        return Err("there is no such file");
    }
    let Some((_, anchor)) = link.split_once('#') else {
        return Ok(());
    };
    if target.extension().is_none_or(|it| it != "md") {
        return Err("only documents have headings");
    }
    let headings = if target == file {
        anchors(text)
    } else {
        anchors(&read(&target))
    };
    if headings.contains(anchor) {
        Ok(())
    } else {
        Err("there is no such heading")
    }
}

/// Returns the file that a link leads to, or `None` if it leaves the repository.
fn target(file: &Path, link: &str) -> Option<PathBuf> {
    let path = link.split('#').next().unwrap_or_default();
    if let Some(path) = path.strip_prefix(REPOSITORY) {
        return Some(repository().join(path));
    }
    if path.contains("://") || path.starts_with("mailto:") {
        return None;
    }
    if path.is_empty() {
        return Some(file.to_owned());
    }
    Some(normal(&file.parent().unwrap().join(path)))
}

/// Returns a path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            normal.pop();
        } else {
            normal.push(component);
        }
    }
    normal
}

/// Returns the targets of the links in a text, except for code.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let inline = prose.split("](").skip(1);
    let inline = inline.filter_map(|rest| rest.split_once(')').map(|(link, _)| link));
    let definitions = prose.lines().filter(|line| line.starts_with('['));
    let definitions = definitions.filter_map(|line| line.split_once("]: "));
    let all = inline.chain(definitions.map(|(_, link)| link));
    // A title may follow.
    all.filter_map(|link| link.split_whitespace().next().map(str::to_owned))
        .collect()
}

/// Returns the anchors that GitHub and mdBook make of the headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        inside ^= line.starts_with("```");
        !inside && line.starts_with('#')
    });
    lines
        .map(|line| {
            let heading = line.trim_start_matches('#').trim().to_lowercase();
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

/// Removes the blocks and spans of code.
fn prose(text: &str) -> String {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        inside ^= is_fence;
        !inside && !is_fence
    });
    let lines: Vec<_> = lines.collect();
    lines
        .join("\n")
        .split('`')
        .step_by(2)
        .collect::<Vec<_>>()
        .join("")
}

/// Reads a document. A chapter of the guide contains what it includes.
fn read(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap();
    let mut parts = text.split("{{#include ");
    let mut expanded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (include, rest) = part.split_once("}}").unwrap();
        let mut words = include.split(':');
        let path = file.parent().unwrap().join(words.next().unwrap());
        let first: usize = words.next().map_or(1, |first| first.parse().unwrap());
        let included = fs::read_to_string(normal(&path)).unwrap();
        let included: Vec<_> = included.lines().skip(first - 1).collect();
        expanded += &included.join("\n");
        expanded += rest;
    }
    expanded
}

/// Returns the files below a folder with an ending, except for what is built or hidden.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" && name != "node_modules" {
                found.extend(files(&path, ending));
            }
        } else if path.extension().is_some_and(|it| it == ending) {
            found.push(path);
        }
    }
    found
}

fn name(file: &Path) -> String {
    let name = file.strip_prefix(repository()).unwrap_or(file);
    name.display().to_string()
}

fn guide() -> PathBuf {
    repository().join("docs/guide/src")
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The address of the files in the repository.
const REPOSITORY: &str = "https://github.com/agentwire/agentwire/blob/main/";

#[test]
fn links_are_read_from_prose_only() {
    let text = "[a](b.md#c), `[x](y)`,\n[d\ne](f \"title\")\n```\n[g](h)\n```\n[i]: j\n";
    assert_eq!(links(text), ["b.md#c", "f", "j"]);
}

#[test]
fn a_wrong_file_and_a_wrong_heading_are_found() {
    let file = guide().join("SUMMARY.md");
    let text = "# The `first` heading, here\n";
    assert_eq!(check(&file, text, "#the-first-heading-here"), Ok(()));
    assert_eq!(check(&file, text, "state.md"), Ok(()));
    assert_eq!(
        check(&file, text, "#second"),
        Err("there is no such heading")
    );
    assert_eq!(check(&file, text, "none.md"), Err("there is no such file"));
    let address = format!("{REPOSITORY}none.md");
    assert_eq!(check(&file, text, &address), Err("there is no such file"));
}
