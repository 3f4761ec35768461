//! Reads which source files of a crate name which others.
//!
//! A file names another by a path that starts with `crate`, `super` or `self`, in a `use` or in the
//! code, or by declaring it as a module. Unit tests at the end of a file do not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The text of each module, by its path: `client::channel`.
pub(crate) type Sources = BTreeMap<String, String>;

/// The modules that each module names.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// Reads all modules below a source folder.
pub(crate) fn read(root: &Path) -> Sources {
    let mut sources = Sources::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let module = path.strip_prefix(root).unwrap().with_extension("");
            let mut segments: Vec<_> = module.iter().map(|part| part.to_str().unwrap()).collect();
            if let Some(&("mod" | "lib")) = segments.last() {
                segments.pop();
            }
            let text = fs::read_to_string(&path).unwrap();
            sources.insert(segments.join("::"), text);
        }
    }
    sources
}

/// Returns which modules name which others.
pub(crate) fn graph(sources: &Sources) -> Graph {
    let mut graph = Graph::new();
    for (module, text) in sources {
        let named = paths(module, text)
            .into_iter()
            .filter_map(|path| owner(sources, &path));
        graph.insert(
            module.clone(),
            named.filter(|other| other != module).collect(),
        );
    }
    graph
}

/// Returns each circle of modules that name each other, directly or through others.
pub(crate) fn circles(graph: &Graph) -> Vec<BTreeSet<String>> {
    let reachable: BTreeMap<_, _> = graph
        .keys()
        .map(|module| (module, reachable(graph, module)))
        .collect();
    let circles: BTreeSet<BTreeSet<String>> = graph
        .keys()
        .filter(|module| reachable[module].contains(*module))
        .map(|module| {
            let others = reachable[module].iter();
            let back = others.filter(|other| reachable[other].contains(module));
            back.cloned().collect()
        })
        .collect();
    circles.into_iter().collect()
}

fn reachable(graph: &Graph, from: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next = vec![from];
    while let Some(module) = next.pop() {
        for named in graph.get(module).into_iter().flatten() {
            if found.insert(named.clone()) {
                next.push(named);
            }
        }
    }
    found
}

/// Returns the module that a path leads into: its longest prefix that is one.
fn owner(sources: &Sources, path: &[String]) -> Option<String> {
    let prefixes = (0..=path.len()).rev().map(|len| path[..len].join("::"));
    prefixes
        .into_iter()
        .find(|prefix| sources.contains_key(prefix))
}

/// Returns the paths that a module names, from the root of the crate.
fn paths(module: &str, text: &str) -> Vec<Vec<String>> {
    let tokens = tokens(text);
    let module: Vec<String> = module
        .split("::")
        .filter(|segment| !segment.is_empty())
        .map(String::from)
        .collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match (&*tokens[at], tokens.get(at + 1).map(|token| &**token)) {
            // The scope of a visibility names no dependency.
            ("pub", Some("(")) => {
                while tokens[at] != ")" {
                    at += 1;
                }
            }
            ("mod", Some(name)) if tokens.get(at + 2).is_some_and(|token| token == ";") => {
                let mut path = module.clone();
                path.push(name.to_owned());
                found.push(path);
                at += 2;
            }
            ("crate", Some("::")) => at = tree(&tokens, at + 2, Vec::new(), &mut found),
            ("self", Some("::")) => {
                at = tree(&tokens, at + 2, module.clone(), &mut found);
            }
            ("super", Some("::")) => {
                let parent = module[..module.len().saturating_sub(1)].to_vec();
                at = tree(&tokens, at + 2, parent, &mut found);
            }
            // The rest of a path that starts otherwise.
            (_, Some("::")) => at += 2,
            _ => at += 1,
        }
    }
    found
}

/// Reads the rest of a path, or of a tree of paths, and returns where it ends.
fn tree(
    tokens: &[String],
    mut at: usize,
    mut prefix: Vec<String>,
    found: &mut Vec<Vec<String>>,
) -> usize {
    loop {
        match tokens.get(at).map(|token| &**token) {
            Some("{") => {
                at += 1;
                while tokens[at] != "}" {
                    if tokens[at] == "," {
                        at += 1;
                    } else {
                        at = tree(tokens, at, prefix.clone(), found);
                    }
                }
                return at + 1;
            }
            Some("super") => {
                prefix.pop();
            }
            Some("self") => {}
            Some(segment) if is_word(segment) => prefix.push(segment.to_owned()),
            Some("*") => {
                found.push(prefix);
                return at + 1;
            }
            // Generic arguments.
            _ => {
                found.push(prefix);
                return at;
            }
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            found.push(prefix);
            // The other name of an item.
            return if tokens.get(at).is_some_and(|token| token == "as") {
                at + 2
            } else {
                at
            };
        }
        at += 1;
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|first: char| first.is_alphanumeric() || first == '_')
}

/// Cuts the code of a file, without its unit tests, into words and signs.
fn tokens(text: &str) -> Vec<String> {
    let code = text
        .split_once("#[cfg(test)]\nmod tests")
        .map_or(text, |(code, _)| code);
    let mut tokens = Vec::new();
    for line in code.lines() {
        let line = line.split_once("//").map_or(line, |(code, _)| code);
        let mut rest = line;
        while let Some(first) = rest.chars().next() {
            let len = match first {
                _ if is_word(rest) => rest
                    .find(|next: char| !next.is_alphanumeric() && next != '_')
                    .unwrap_or(rest.len()),
                // A text of one line. What it says is no path.
                '"' => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
                ':' if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            if !first.is_whitespace() && first != '"' {
                tokens.push(rest[..len].to_owned());
            }
            rest = &rest[len..];
        }
    }
    tokens
}

#[test]
fn paths_are_read_wherever_they_stand() {
    let text = r#"
        //! Like crate::comment.
        mod child;
        pub(in crate::visible) use self::child::Item;
        use super::{sibling::{self, Other as Another}, *};
        use crate::{a::b::C, d};
        fn f() -> Vec<super::super::uncle::Type> { "crate::text"; std::self_::x(crate::e::f()) }
        #[cfg(test)]
        mod inline {}
    "#;
    let found: Vec<_> = paths("top::here", text)
        .into_iter()
        .map(|path| path.join("::"))
        .collect();
    assert_eq!(
        found,
        [
            "top::here::child",
            "top::here::child::Item",
            "top::sibling",
            "top::sibling::Other",
            "top",
            "a::b::C",
            "d",
            "uncle::Type",
            "e::f",
        ]
    );
}
