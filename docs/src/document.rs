//! The code blocks of the documents. The build script and the tests share this file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// A document whose blocks are run.
#[derive(Debug)]
pub struct Document {
    /// The name of the file without its directory.
    pub name: String,
    pub path: PathBuf,
    pub blocks: Vec<Block>,
}

/// A code block between two fences.
#[derive(Debug)]
pub struct Block {
    /// The language after the fence.
    pub language: String,
    pub kind: Kind,
    pub text: String,
    /// The last line of prose before the block.
    pub lead: String,
    /// The number of the first line.
    pub line: usize,
}

/// How a block is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A program in Rust with its own `main`.
    Program,
    /// Tests in Rust.
    Test,
    Other,
}

impl Document {
    /// Reads the README and the chapters of the guide.
    ///
    /// # Errors
    ///
    /// Returns an error if a document cannot be read.
    pub fn all() -> io::Result<Vec<Self>> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut paths = vec![package.join("../README.md")];
        let chapters = fs::read_dir(package.join("guide/src"))?;
        let mut chapters = chapters
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        chapters.retain(|path| path.extension().is_some_and(|it| it == "md"));
        chapters.sort();
        paths.append(&mut chapters);
        paths.into_iter().map(Self::read).collect()
    }

    fn read(path: PathBuf) -> io::Result<Self> {
        let text = fs::read_to_string(&path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: name.into_owned(),
            blocks: blocks(&text),
            path,
        })
    }

    /// Returns the name as an identifier of Rust.
    pub fn module(&self) -> String {
        let stem = self.name.trim_end_matches(".md").to_lowercase();
        stem.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
    }
}

impl Block {
    /// Returns the code without the marks of lines that the guide does not show.
    pub fn code(&self) -> String {
        let lines = self.text.lines();
        let lines = lines.map(|line| match line {
            "#" => "",
            line => line.strip_prefix("# ").unwrap_or(line),
        });
        let lines: Vec<_> = lines.collect();
        lines.join("\n")
    }

    /// Returns the file that the prose before the block names, as in
    /// "Put this into `src/main.rs`:".
    pub fn file(&self) -> Option<&str> {
        let names = self.lead.split('`').skip(1).step_by(2);
        let ending = match self.language.as_str() {
            "rust" => ".rs",
            "python" => ".py",
            _ => return None,
        };
        names.filter(|name| name.ends_with(ending)).last()
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lead = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(info) = line.strip_prefix("```") {
            let code = lines.by_ref().map(|(_, line)| line);
            let code: Vec<_> = code.take_while(|line| *line != "```").collect();
            let text = code.join("\n");
            let language = info.split(',').next().unwrap_or_default().to_owned();
            let kind = match language.as_str() {
                "rust" if text.contains("::test") => Kind::Test,
                "rust" => Kind::Program,
                _ => Kind::Other,
            };
            let lead = std::mem::take(&mut lead);
            blocks.push(Block {
                language,
                kind,
                text,
                lead,
                line: number + 2,
            });
        } else if line.trim().is_empty() {
            // A block belongs to the paragraph before it.
        } else {
            lead.push(' ');
            lead.push_str(line);
        }
    }
    blocks
}
