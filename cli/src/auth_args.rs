//! The options for security: `--auth` and `--audit` of servers, and the token of clients.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use agentwire::{
    Credential, Credentials, RemoteAgentBuilder,
    auth::{AuthFile, JsonLines, Overload, Security},
    registry::RemoteRegistryBuilder,
};
use clap::{Args, ValueEnum};

use crate::{
    exit::{CliError, Exit},
    output,
};

/// Who may send requests to a server, and what it records.
#[derive(Debug, Args)]
pub(crate) struct SecurityArgs {
    /// Require authentication; the TOML file lists principals, roles and quotas, and is read again
    /// when it changes
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    auth: Option<PathBuf>,

    /// Record who did what, as JSON lines in this file; at 10 MiB, it is renamed to FILE.1, and
    /// five renamed files are kept
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    audit: Option<PathBuf>,

    /// The namespace of the agents and tools; principals of other namespaces are denied [default:
    /// the namespace of all principals in the file of --auth; required if they have several, except
    /// for a registry, which keeps namespaces apart]
    #[arg(long, value_name = "NAME", requires = "auth", help_heading = HEADING)]
    namespace: Option<String>,

    /// What happens to requests while the file of --audit cannot be written, for example because
    /// the disk is full
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "block",
        requires = "audit",
        help_heading = HEADING
    )]
    audit_policy: AuditPolicy,
}

/// What happens to requests while the record cannot be written.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum AuditPolicy {
    /// Requests wait
    Block,
    /// Requests are refused with AGENT_UNAVAILABLE
    Deny,
    /// Requests go on, and lost events are counted in the record and on standard error
    Drop,
}

impl From<AuditPolicy> for Overload {
    fn from(policy: AuditPolicy) -> Self {
        match policy {
            AuditPolicy::Block => Self::Block,
            AuditPolicy::Deny => Self::Deny,
            AuditPolicy::Drop => Self::Drop,
        }
    }
}

impl SecurityArgs {
    /// Returns whether requests need an identity.
    pub(crate) fn authenticates(&self) -> bool {
        self.auth.is_some()
    }

    /// Reads the files. Returns `None` without options. A registry keeps namespaces apart, and
    /// other servers belong to one of them.
    pub(crate) fn open(&self, is_registry: bool) -> Result<Option<Security>, CliError> {
        if self.auth.is_none() && self.audit.is_none() {
            return Ok(None);
        }
        let mut security = match &self.auth {
            Some(path) => {
                let file = AuthFile::open(path);
                let file = file.map_err(|error| CliError::from_error(Exit::Usage, &error))?;
                file.on_reload(|result| {
                    if let Err(error) = result {
                        output::warn(format_args!(
                            "the changed auth file has an error, so the old one stays in effect: {error}"
                        ));
                    }
                });
                let only = match &self.namespace {
                    Some(name) => Some(name.clone()),
                    None if is_registry => None,
                    None => only_namespace(path, &file)?,
                };
                let security = Security::from_file(file);
                match only {
                    Some(namespace) => security.namespace(namespace),
                    None if is_registry => security,
                    // Principals of a namespace that the file gets later are denied, too.
                    None => security.default_namespace(),
                }
            }
            None => Security::new(),
        };
        if let Some(path) = &self.audit {
            let sink = JsonLines::file(path)
                .overload(self.audit_policy.into())
                .on_problem(|problem| output::warn(problem))
                .open()
                .map_err(|error| unusable("--audit", path, &error))?;
            // Ignore an error: a process runs one server.
            let _ = AUDIT.set(sink.clone());
            security = security.audit(sink);
        }
        Ok(Some(security))
    }
}

/// Returns the namespace of all principals in a file.
fn only_namespace(path: &Path, file: &AuthFile) -> Result<Option<String>, CliError> {
    let mut namespaces = file.namespaces().into_iter();
    let only = namespaces.next().flatten();
    if namespaces.next().is_some() {
        let problem = format!(
            "{}: the principals belong to several namespaces; give --namespace",
            path.display()
        );
        return Err(CliError::new(Exit::Usage, problem));
    }
    Ok(only)
}

/// Waits until the record of the server is written. The events that cannot be written are reported.
pub(crate) fn close_audit() {
    if let Some(audit) = AUDIT.get() {
        audit.close(CLOSE_TIMEOUT);
    }
}

/// The record of the server in this process, which must be written before the process exits.
static AUDIT: OnceLock<JsonLines> = OnceLock::new();

/// The token that a client sends.
#[derive(Debug, Default, Args)]
pub(crate) struct TokenArgs {
    /// The token to send; other users of this machine can see the options of a command, but not the
    /// variable and the file
    #[arg(
        long,
        value_name = "TOKEN",
        env = "AGENTWIRE_TOKEN",
        hide_env_values = true,
        help_heading = HEADING
    )]
    token: Option<Secret>,

    /// The file with the token to send, which is read again when it changes
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    token_file: Option<PathBuf>,

    /// Send the token over unencrypted connections to other machines, where others can read it
    #[arg(long, help_heading = HEADING)]
    allow_plaintext_token: bool,
}

impl TokenArgs {
    /// Returns the token for a server that is reached without encryption, if there is one.
    pub(crate) fn plain(&self, is_here: bool) -> Result<Option<String>, CliError> {
        let token = match &self.token_file {
            Some(path) => {
                let read = read_token(path);
                Some(read.map_err(|error| unusable("--token-file", path, &error))?)
            }
            None => self.token.as_ref().map(|token| token.0.clone()),
        };
        let token = token.filter(|token| !token.is_empty());
        if token.is_some() && !is_here && !self.allow_plaintext_token {
            let problem = "the token would be sent unencrypted to another machine; \
                           use --allow-plaintext-token if the network is safe";
            return Err(CliError::new(Exit::Usage, problem.to_owned()));
        }
        Ok(token)
    }

    /// Returns the token, if there is one. A file has precedence over the environment.
    fn credentials(&self) -> Result<Option<Credentials>, CliError> {
        if let Some(path) = &self.token_file {
            let token = read_token(path).map_err(|error| unusable("--token-file", path, &error))?;
            return Ok(Some(refreshed(path.clone(), token)));
        }
        let token = self.token.as_ref().filter(|token| !token.0.is_empty());
        Ok(token.map(|token| Credential::bearer(&*token.0).into()))
    }

    /// Adds the token to a client.
    pub(crate) fn apply<D>(
        &self,
        builder: RemoteAgentBuilder<D>,
    ) -> Result<RemoteAgentBuilder<D>, CliError> {
        let builder = builder.allow_plaintext_credentials(self.allow_plaintext_token);
        Ok(match self.credentials()? {
            Some(credentials) => builder.credentials(credentials),
            None => builder,
        })
    }

    /// Adds the token to the client of a registry.
    pub(crate) fn apply_to_registry(
        &self,
        builder: RemoteRegistryBuilder,
    ) -> Result<RemoteRegistryBuilder, CliError> {
        let builder = builder.allow_plaintext_credentials(self.allow_plaintext_token);
        Ok(match self.credentials()? {
            Some(credentials) => builder.credentials(credentials),
            None => builder,
        })
    }
}

/// A text that is never shown.
#[derive(Clone)]
struct Secret(String);

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn read_token(path: &Path) -> io::Result<String> {
    let token = fs::read_to_string(path)?.trim().to_owned();
    if token.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is empty",
        ));
    }
    Ok(token)
}

/// Returns the token in a file, and reads the file again from time to time. If that fails, the last
/// token remains in use.
fn refreshed(path: PathBuf, token: String) -> Credentials {
    let state = Mutex::new((Instant::now(), token));
    Credentials::from_fn(move || {
        // The state is valid after a panic.
        let (read_at, token) = &mut *state.lock().unwrap_or_else(PoisonError::into_inner);
        if read_at.elapsed() >= REFRESH_INTERVAL {
            *read_at = Instant::now();
            if let Ok(current) = read_token(&path) {
                *token = current;
            }
        }
        Credential::bearer(&**token)
    })
}

fn unusable(option: &str, path: &Path, error: &io::Error) -> CliError {
    CliError::new(Exit::Usage, format!("{option} {}: {error}", path.display()))
}

/// The heading in the help.
const HEADING: &str = "Security";

const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// The maximum time for the last events of a server.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
