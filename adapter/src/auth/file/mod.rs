//! Principals, roles and quotas in a file: [`AuthFile`].

mod error;
mod parse;
mod watch;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    future::{Future, ready},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use agentwire_transport::{Peer, internal::Mutex};

pub use self::error::AuthFileError;
use self::watch::Stamp;
use super::{
    audit::{AuditEvent, AuditKind},
    authenticate::{Authenticate, Denied},
    identities::{Certificates, Tokens, Users},
    policy::Policy,
    quota::Quota,
};
use crate::{Credential, CredentialKind, Principal, server::gatekeeper::Changes};

/// A TOML file with principals, roles and quotas.
///
/// ```toml
/// [[principal]]
/// name = "alice"
/// roles = ["agent-consumer"]
/// namespace = "prod"
/// # One or more of these:
/// token_sha256 = "ef17c6b1bec7bc825cca550a70ca15864304822a90a3e5213902d2dcbc5d53d1"
/// uid = 1000
/// certificate = "alice.internal"
///
/// [[role]]
/// name = "forecasts"
/// allow = [{ verbs = ["call", "stream"], agents = ["weather*"], tools = ["*"] }]
///
/// [jwt]
/// issuer = "https://issuer.example"
/// audience = "agents"
/// algorithms = ["EdDSA"]
/// jwks = "jwks.json"
/// roles_claim = "roles"
///
/// [quota]
/// requests_per_minute = 1000
/// burst = 100
/// bytes_per_minute = 100_000_000
/// streams = 16
/// ```
///
/// A principal may have a quota of its own: the same keys, directly or in a table `quota`. A
/// principal with two tokens has two entries with the same name, roles and namespace. A path in the
/// file is relative to the directory of the file.
///
/// The file and the keys for JWT are checked for changes once a second. A changed file is checked
/// first and then replaces the old one as a whole, also for open connections and running streams. A
/// file with an error changes nothing, and is reported in the log and in the audit record.
#[derive(Clone)]
pub struct AuthFile(Arc<Shared>);

struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    revision: AtomicU64,
    /// The records of the servers that use the file.
    records: Mutex<Vec<Changes>>,
    on_reload: Mutex<Option<OnReload>>,
}

type OnReload = Arc<dyn Fn(Result<(), &AuthFileError>) + Send + Sync>;

struct State {
    loaded: Arc<Loaded>,
    /// The state of the files when they were last read.
    stamps: Vec<Stamp>,
}

/// The contents of a file.
#[derive(Debug)]
struct Loaded {
    tokens: Tokens,
    users: Users,
    certificates: Certificates,
    policy: Arc<Policy>,
    quota: Option<Quota>,
    quotas: HashMap<String, Quota>,
    namespaces: BTreeSet<Option<String>>,
    #[cfg(feature = "jwt")]
    jwt: Option<super::jwt::Jwt>,
    /// The paths of all files that were read.
    paths: Vec<PathBuf>,
}

impl AuthFile {
    /// Reads a file and starts to watch it. A thread checks the file until the last clone of this
    /// value is dropped.
    ///
    /// # Errors
    ///
    /// Returns an error with the line of what is wrong.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, AuthFileError> {
        let path = path.into();
        let (loaded, stamps) = load(&path)?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                loaded: Arc::new(loaded),
                stamps,
            }),
            revision: AtomicU64::new(0),
            records: Mutex::default(),
            on_reload: Mutex::default(),
            path,
        });
        watch::start(&shared).map_err(|error| {
            AuthFileError::new(&shared.path, None, format!("cannot be watched: {error}"))
        })?;
        Ok(Self(shared))
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Returns the namespaces of the principals in the file. `None` is the default namespace.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<Option<String>> {
        self.0.loaded().namespaces.clone()
    }

    /// Reads the file again at once.
    ///
    /// # Errors
    ///
    /// Returns an error if the file is wrong. The old contents then remain in effect.
    pub fn reload(&self) -> Result<(), AuthFileError> {
        self.0.reload()
    }

    /// Sets a function that is called each time a changed file has been read, with the reason if
    /// the old contents remain in effect. It must not block. By default, this is only logged, at
    /// the levels `info` and `warn`.
    pub fn on_reload(&self, report: impl Fn(Result<(), &AuthFileError>) + Send + Sync + 'static) {
        *self.0.on_reload.lock() = Some(Arc::new(report));
    }

    /// Records all further changes of the file.
    pub(crate) fn record_changes(&self, changes: Changes) {
        self.0.records.lock().push(changes);
    }

    pub(crate) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.0.loaded().policy)
    }

    /// Returns the quota of a principal, if the file has one.
    pub(crate) fn quota_of(&self, principal: Option<&Principal>) -> Option<Quota> {
        let loaded = self.0.loaded();
        let own = principal.and_then(|principal| loaded.quotas.get(principal.name()).copied());
        own.or(loaded.quota)
    }
}

impl Shared {
    fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.state.lock().loaded)
    }

    fn reload(&self) -> Result<(), AuthFileError> {
        let result = load(&self.path);
        let mut event = AuditEvent::new(AuditKind::PolicyChange, result.is_ok());
        let result = match result {
            Ok((loaded, stamps)) => {
                *self.state.lock() = State {
                    loaded: Arc::new(loaded),
                    stamps,
                };
                // Release is not needed, because readers take the lock of the state.
                self.revision.fetch_add(1, Relaxed);
                tracing::info!(path = %self.path.display(), "auth file reloaded");
                event.reason = Some(self.path.display().to_string());
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "auth file refused; the old one remains in effect");
                event.reason = Some(error.to_string());
                Err(error)
            }
        };
        self.records
            .lock()
            .retain(|changes| changes.send(event.clone()));
        let on_reload = self.on_reload.lock().clone();
        if let Some(report) = on_reload {
            report(result.as_ref().copied());
        }
        result
    }
}

impl Authenticate for AuthFile {
    fn connection(
        &self,
        peer: &Peer,
    ) -> impl Future<Output = Result<Option<Principal>, Denied>> + Send {
        let loaded = self.0.loaded();
        let found = loaded
            .certificates
            .find(peer)
            .or_else(|| loaded.users.find(peer));
        ready(Ok(found.cloned()))
    }

    fn request(
        &self,
        _: &Peer,
        credential: &Credential,
    ) -> impl Future<Output = Result<Option<Principal>, Denied>> + Send {
        let loaded = self.0.loaded();
        let found = match credential.kind() {
            CredentialKind::Unreadable => Err(Denied::new("unreadable credential")),
            kind => match loaded.tokens.find(credential.secret()) {
                Some(principal) => Ok(Some(principal.clone())),
                None => loaded.verify(kind, credential),
            },
        };
        ready(found)
    }

    fn revision(&self) -> u64 {
        self.0.revision.load(Relaxed)
    }
}

impl Loaded {
    #[cfg(feature = "jwt")]
    fn verify(
        &self,
        kind: CredentialKind,
        credential: &Credential,
    ) -> Result<Option<Principal>, Denied> {
        match &self.jwt {
            Some(jwt) if kind == CredentialKind::Bearer => {
                jwt.verify(credential.secret()).map(Some)
            }
            _ => Ok(None),
        }
    }

    #[cfg(not(feature = "jwt"))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "as with the feature `jwt`"
    )]
    fn verify(&self, _: CredentialKind, _: &Credential) -> Result<Option<Principal>, Denied> {
        Ok(None)
    }
}

/// Reads a file and the files to which it refers. The stamps are taken first, so that a change
/// during the reading is noticed.
fn load(path: &Path) -> Result<(Loaded, Vec<Stamp>), AuthFileError> {
    let stamp = Stamp::of(path);
    let text = std::fs::read_to_string(path)
        .map_err(|error| AuthFileError::new(path, None, format!("cannot be read: {error}")))?;
    let loaded = parse::parse(path, &text)?;
    let mut stamps = vec![stamp];
    stamps.extend(loaded.paths.iter().skip(1).map(|path| Stamp::of(path)));
    Ok((loaded, stamps))
}

impl fmt::Debug for AuthFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AuthFile").field(&self.path()).finish()
    }
}
