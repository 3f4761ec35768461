//! The file of a record, its rotation and its retention.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use agentwire_codec::json;

use super::writer::Lines;

/// When a file is rotated, and how many old files are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rotation {
    pub(super) max_bytes: u64,
    pub(super) max_age: Option<Duration>,
    pub(super) keep: usize,
}

/// An open file, which contains only whole lines unless a write is in progress.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    /// `None` after the file was renamed and before the next one is created.
    file: Option<File>,
    len: u64,
    /// Whether the file may end with a part of a line, because a write has failed.
    is_torn: bool,
    since: SystemTime,
    rotation: Rotation,
}

impl LogFile {
    /// Opens a file for appending, and cuts off a last line that is not whole. Returns the file and
    /// the last sequence number in it.
    pub(super) fn open(path: &Path, rotation: Rotation) -> io::Result<(Self, u64)> {
        let mut file = create(path)?;
        let cut = cut_partial_line(&mut file)?;
        if cut > 0 {
            let path = path.display();
            tracing::warn!(%path, bytes = cut, "removed an incomplete line of the audit record");
        }
        let mut last = last_seq(&mut file)?;
        if last.is_none() {
            // The file was rotated just before the last process ended.
            last = match File::open(numbered(path, 1)) {
                Ok(mut previous) => last_seq(&mut previous)?,
                Err(_) => None,
            };
        }
        let len = file.seek(SeekFrom::End(0))?;
        let created = file.metadata()?.created();
        let since = created.unwrap_or_else(|_| SystemTime::now());
        let log = Self {
            path: path.to_owned(),
            file: Some(file),
            len,
            is_torn: false,
            since,
            rotation,
        };
        Ok((log, last.unwrap_or(0)))
    }

    /// Renames the file and its predecessors, and creates a new file.
    fn rotate(&mut self) -> io::Result<()> {
        let keep = self.rotation.keep;
        if keep == 0 {
            if let Some(file) = &self.file {
                file.set_len(0)?;
            }
        } else {
            for number in (1..keep).rev() {
                rename_if_present(
                    &numbered(&self.path, number),
                    &numbered(&self.path, number + 1),
                )?;
            }
            fs::rename(&self.path, numbered(&self.path, 1))?;
            // If the new file cannot be created, the predecessors must not be renamed again.
            self.file = None;
            self.file = Some(create(&self.path)?);
        }
        (self.len, self.since) = (0, SystemTime::now());
        Ok(())
    }

    /// Creates the file anew if another program has renamed or removed it. Otherwise, new lines
    /// would be missing at the path of the record.
    fn follow(&mut self) -> io::Result<()> {
        let is_here = match &self.file {
            Some(file) => {
                // Another program may also have emptied the file.
                self.len = self.len.min(file.metadata()?.len());
                is_at(file, &self.path)
            }
            None => false,
        };
        if !is_here {
            if self.file.is_some() {
                let path = self.path.display();
                tracing::warn!(%path, "the audit record was moved or removed; continuing in a new file");
            }
            let mut file = create(&self.path)?;
            self.len = file.seek(SeekFrom::End(0))?;
            self.file = Some(file);
            (self.since, self.is_torn) = (SystemTime::now(), false);
        }
        Ok(())
    }

    /// Writes lines, and remembers whether a part of them may be in the file.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if self.is_torn {
            file.set_len(self.len)?;
        }
        self.is_torn = true;
        if let Err(error) = file.write_all(lines) {
            // A part of the lines may have been written before the disk was full.
            self.is_torn = file.set_len(self.len).is_err();
            return Err(error);
        }
        self.is_torn = false;
        self.len += lines.len() as u64;
        Ok(())
    }
}

impl Lines for LogFile {
    fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        self.follow()?;
        let is_old = self.rotation.max_age.is_some_and(|max| {
            SystemTime::now()
                .duration_since(self.since)
                .unwrap_or_default()
                >= max
        });
        let is_full = self.len + lines.len() as u64 > self.rotation.max_bytes;
        if self.len > 0 && (is_old || is_full) {
            self.rotate()?;
        }
        self.write(lines)
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    lock(&file)?;
    Ok(file)
}

/// Locks a file until it is closed. Two writers would use the same numbers, and rename the files of
/// each other.
#[cfg(unix)]
fn lock(file: &File) -> io::Result<()> {
    use rustix::{fs, io::Errno};

    // A device such as /dev/null has no numbers to protect.
    if !file.metadata()?.is_file() {
        return Ok(());
    }
    match fs::flock(file, fs::FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => {
            let text = "another server writes to the file";
            Err(io::Error::new(io::ErrorKind::ResourceBusy, text))
        }
        // Some file systems have no locks.
        _ => Ok(()),
    }
}

/// Returns whether the path leads to the open file.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;

    let number = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let [open, found] = [file.metadata(), fs::metadata(path)].map(|result| result.map(number).ok());
    open == found
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

fn numbered(path: &Path, number: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

fn rename_if_present(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Removes the bytes after the last line break. Returns their number.
fn cut_partial_line(file: &mut File) -> io::Result<u64> {
    let len = file.seek(SeekFrom::End(0))?;
    let mut end = len;
    let mut block = [0; BLOCK];
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let block = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(block)?;
        if let Some(position) = block.iter().rposition(|byte| *byte == b'\n') {
            end = start + position as u64 + 1;
            break;
        }
        end = start;
    }
    if end < len {
        file.set_len(end)?;
    }
    Ok(len - end)
}

/// Returns the sequence number of the last line.
fn last_seq(file: &mut File) -> io::Result<Option<u64>> {
    let len = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(len.saturating_sub(BLOCK as u64)))?;
    let mut tail = Vec::new();
    file.take(BLOCK as u64).read_to_end(&mut tail)?;
    let mut lines = tail
        .rsplit(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    let last = lines.next().and_then(|line| json::from_slice(line).ok());
    Ok(last.and_then(|record| record.get("seq")?.as_u64()))
}

/// More than the longest line.
const BLOCK: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const ROTATION: Rotation = Rotation {
        max_bytes: 20,
        max_age: None,
        keep: 2,
    };

    #[test]
    fn a_partial_line_is_removed_and_the_last_number_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        for (content, kept, last) in [
            ("", "", 0),
            ("{\"seq\": 7", "", 0),
            (
                "{\"seq\": 7}\n{\"seq\": 8}\n",
                "{\"seq\": 7}\n{\"seq\": 8}\n",
                8,
            ),
            ("{\"seq\": 7}\n{\"seq\": 8}", "{\"seq\": 7}\n", 7),
        ] {
            fs::write(&path, content).unwrap();
            let (_, seq) = LogFile::open(&path, ROTATION).unwrap();
            assert_eq!(seq, last, "{content:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), kept);
        }
    }

    #[test]
    fn old_files_are_numbered_and_the_oldest_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let (mut log, _) = LogFile::open(&path, ROTATION).unwrap();
        for number in 1..=7 {
            log.append(format!("{{\"seq\": {number}}}\n").as_bytes())
                .unwrap();
        }
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&path), "{\"seq\": 7}\n");
        assert_eq!(read(&numbered(&path, 1)), "{\"seq\": 6}\n");
        assert_eq!(read(&numbered(&path, 2)), "{\"seq\": 5}\n");
        assert!(!numbered(&path, 3).exists());
        drop(log);
        fs::rename(&path, numbered(&path, 1)).unwrap();
        assert_eq!(LogFile::open(&path, ROTATION).unwrap().1, 7);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_was_moved_or_removed_is_created_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let rotation = Rotation {
            max_bytes: 1000,
            ..ROTATION
        };
        let (mut log, _) = LogFile::open(&path, rotation).unwrap();
        log.append(b"1\n").unwrap();
        let moved = directory.path().join("moved");
        fs::rename(&path, &moved).unwrap();
        log.append(b"2\n").unwrap();
        fs::remove_file(&path).unwrap();
        log.append(b"3\n").unwrap();
        assert_eq!(fs::read_to_string(&moved).unwrap(), "1\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "3\n");
        File::create(&path).unwrap();
        log.append(b"4\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "4\n");
        assert_eq!(log.len, 2);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_has_one_writer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let (mut log, _) = LogFile::open(&path, ROTATION).unwrap();
        let refused = |path: &Path| {
            let error = LogFile::open(path, ROTATION).unwrap_err();
            assert_eq!(error.to_string(), "another server writes to the file");
        };
        refused(&path);
        for number in 1..=3 {
            log.append(format!("{{\"seq\": {number}}}\n").as_bytes())
                .unwrap();
        }
        assert!(numbered(&path, 1).exists());
        refused(&path);
        drop(log);
        assert_eq!(LogFile::open(&path, ROTATION).unwrap().1, 3);
    }

    #[cfg(unix)]
    #[test]
    fn a_rotation_that_fails_half_way_is_completed_later() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.jsonl");
        let (mut log, _) = LogFile::open(&path, ROTATION).unwrap();
        log.append(b"{\"seq\": 1}\n").unwrap();
        log.append(b"{\"seq\": 2}\n").unwrap();
        // The file has been renamed, and creating the next one has failed.
        log.rotate().unwrap();
        log.file = None;
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        for _ in 0..5 {
            log.append(b"{\"seq\": 3}\n").unwrap_err();
        }
        fs::remove_dir(&path).unwrap();
        log.append(b"{\"seq\": 3}\n").unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&path), "{\"seq\": 3}\n");
        assert_eq!(read(&numbered(&path, 1)), "{\"seq\": 2}\n");
        assert_eq!(read(&numbered(&path, 2)), "{\"seq\": 1}\n");
    }
}
