//! The mode and the group of the files of Unix sockets.

use agentwire::Endpoint;
use clap::Args;

use crate::exit::{CliError, Exit};

/// The options for the files of Unix sockets.
#[derive(Debug, Args)]
pub(crate) struct SocketFileArgs {
    /// The mode of the file of a Unix socket, in octal; who may write to the file may connect
    /// [default: 0600, or 0660 with --socket-group]
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    socket_mode: Option<u32>,

    /// The group of the file of a Unix socket: a name or a number
    #[arg(long, value_name = "NAME")]
    socket_group: Option<String>,
}

/// The mode and the group of the files of Unix sockets. Without a mode, a group has mode 0660.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SocketFiles {
    pub(crate) mode: Option<u32>,
    pub(crate) group: Option<u32>,
}

impl SocketFileArgs {
    pub(crate) fn open(&self, endpoints: &[Endpoint]) -> Result<SocketFiles, CliError> {
        let group = self.socket_group.as_deref().map(group_id).transpose()?;
        let mode = self.socket_mode;
        let is_unix = |endpoint: &Endpoint| matches!(endpoint, Endpoint::Unix { .. });
        if (mode.is_some() || group.is_some()) && !endpoints.iter().any(is_unix) {
            let problem = "--socket-mode and --socket-group need a unix:// endpoint";
            return Err(CliError::new(Exit::Usage, problem));
        }
        Ok(SocketFiles { mode, group })
    }
}

fn parse_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok();
    let mode = mode.filter(|mode| mode & 0o600 == 0o600 && mode & !0o777 == 0);
    mode.ok_or_else(|| {
        format!("invalid mode {text:?}; use octal digits that allow the owner to read and write, as in 0660")
    })
}

/// Returns the number of a group. Names are looked up in `/etc/group`.
fn group_id(name: &str) -> Result<u32, CliError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let groups = std::fs::read(GROUPS).unwrap_or_default();
    find_group(&String::from_utf8_lossy(&groups), name).ok_or_else(|| {
        let problem = format!("--socket-group: no group {name:?} in {GROUPS}");
        CliError::new(Exit::Usage, problem)
    })
}

/// Returns the number of a group in the text of `/etc/group`.
fn find_group(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_found = fields.next() == Some(name);
        fields.nth(1).filter(|_| is_found)?.parse().ok()
    })
}

const GROUPS: &str = "/etc/group";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_octal_and_keep_the_owner() {
        assert_eq!(parse_mode("0660"), Ok(0o660));
        assert_eq!(parse_mode("777"), Ok(0o777));
        for text in ["", "0o660", "888", "0060", "4660", "-1", "rw"] {
            assert!(parse_mode(text).is_err(), "{text}");
        }
    }

    #[test]
    fn groups_are_found_by_their_whole_name() {
        let groups = "root:x:0:\nadm:x:4:syslog,ubuntu\nbad\nadmin:x:twelve:\n";
        assert_eq!(find_group(groups, "adm"), Some(4));
        for name in ["", "ad", "admin", "bad", "x"] {
            assert_eq!(find_group(groups, name), None, "{name}");
        }
    }
}
