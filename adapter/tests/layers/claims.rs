//! The tests that SECURITY.md and docs/limits.md name exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

#[test]
fn every_row_of_the_tables_of_defences_and_limits_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let functions = functions(root);
    let mut wrong = Vec::new();
    for document in DOCUMENTS {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let rows = rows_with_tests(&text);
        assert!(rows.len() >= MIN_ROWS, "{document} has {} rows", rows.len());
        for (subject, tests) in rows {
            let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
            if names.is_empty() && tests != "the same" {
                wrong.push(format!("{document}: {subject:?} names no test"));
            }
            let unknown = names.iter().filter(|name| !functions.contains(**name));
            wrong.extend(unknown.map(|name| format!("{document}: {subject:?} names `{name}`")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns the first and the last cell of each row of the tables whose last column is `test`.
fn rows_with_tests(text: &str) -> Vec<(&str, &str)> {
    let mut rows = Vec::new();
    let mut is_table_of_tests = false;
    for line in text.lines() {
        let Some(row) = line
            .strip_prefix("| ")
            .and_then(|row| row.strip_suffix(" |"))
        else {
            is_table_of_tests &= line.starts_with("|-");
            continue;
        };
        // A pipe within a cell is escaped.
        let cells = row.split(" | ");
        let (Some(first), Some(last)) = (cells.clone().next(), cells.last()) else {
            continue;
        };
        if last == "test" {
            is_table_of_tests = true;
        } else if is_table_of_tests {
            rows.push((first, last));
        }
    }
    rows
}

/// Returns the names of all functions in the source of the workspace.
fn functions(root: &Path) -> BTreeSet<String> {
    let mut functions = BTreeSet::new();
    let mut folders: Vec<PathBuf> = CRATES.map(|name| root.join(name)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let source = fs::read_to_string(&path).unwrap();
                let names = source.lines().filter_map(|line| {
                    let (_, rest) = line.split_once("fn ")?;
                    Some(rest.split_once(['(', '<'])?.0.to_owned())
                });
                functions.extend(names);
            }
        }
    }
    functions
}

const DOCUMENTS: [&str; 2] = ["SECURITY.md", "docs/limits.md"];

/// Fewer rows mean that the tables were not found.
const MIN_ROWS: usize = 20;

const CRATES: [&str; 8] = [
    "adapter",
    "cli",
    "codec",
    "interop-tests",
    "proto",
    "registry",
    "text",
    "transport",
];
