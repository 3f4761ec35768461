//! The sources of a published package use only files of the package.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// A package that reaches into the folder of another one builds here, but not where it is unpacked.
/// A symbolic link is a file of the package, because cargo packages the file behind it.
#[test]
fn published_packages_use_no_files_of_others() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    let mut checked = 0;
    for package in fs::read_dir(root).unwrap() {
        let package = package.unwrap().path();
        let Ok(manifest) = fs::read_to_string(package.join("Cargo.toml")) else {
            continue;
        };
        if manifest.contains("publish = false") {
            continue;
        }
        let excluded = excluded(&manifest);
        for folder in ["src", "tests", "benches", "examples"] {
            for source in sources(&package.join(folder)) {
                let within = source.strip_prefix(&package).unwrap();
                if excluded.iter().any(|folder| within.starts_with(folder)) {
                    continue;
                }
                let text = fs::read_to_string(&source).unwrap();
                let folder = within.parent().unwrap();
                for file in used_files(&text) {
                    checked += 1;
                    if leaves(&folder.join(file)) {
                        found.push(format!("{} uses {file}", source.display()));
                    }
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(checked > 10, "only {checked} files are used");
}

/// Returns the folders that a manifest excludes from the package.
fn excluded(manifest: &str) -> Vec<&str> {
    let mut lines = manifest.lines();
    let list = lines.find_map(|line| line.strip_prefix("exclude = "));
    list.unwrap_or_default()
        .split('"')
        .skip(1)
        .step_by(2)
        .collect()
}

/// Returns the files that a source includes by their path.
fn used_files(text: &str) -> Vec<&str> {
    let starts = ["#[path = \"", "include_str!(\"", "include_bytes!(\""];
    let uses = starts
        .into_iter()
        .flat_map(|start| text.split(start).skip(1));
    uses.filter_map(|rest| rest.split('"').next()).collect()
}

/// Returns whether a path in a package leaves the package.
fn leaves(path: &Path) -> bool {
    let mut depth = 0;
    path.components().any(|component| {
        match component {
            Component::ParentDir => depth -= 1,
            Component::Normal(_) => depth += 1,
            _ => {}
        }
        depth < 0
    })
}

/// Returns the Rust files below a folder, which need not exist.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            found.push(path);
        }
    }
    found
}
