//! Whether a server accepts new calls: [`Readiness`].

use std::sync::{
    OnceLock, Weak,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use agentwire_registry::RegistrationHandle;

/// Whether a server accepts new calls. Load balancers check this over HTTP.
#[derive(Default)]
pub(super) struct Readiness {
    /// Whether the server is about to stop.
    is_leaving: AtomicBool,
    /// Whether all agents have been registered once.
    has_registered: AtomicBool,
    registrations: OnceLock<Weak<Vec<RegistrationHandle>>>,
}

/// The answers to the questions on which readiness depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checks {
    /// Whether the server continues to serve.
    pub(super) is_serving: bool,
    /// Whether the agents have been registered, or `None` if there is no registry.
    pub(super) is_registered: Option<bool>,
}

impl Checks {
    pub(super) fn are_ok(self) -> bool {
        self.is_serving && self.is_registered != Some(false)
    }
}

impl Readiness {
    /// Waits with readiness until the agents have been registered.
    pub(super) fn depend_on(&self, registrations: Weak<Vec<RegistrationHandle>>) {
        // Called once, when the server starts.
        let _ = self.registrations.set(registrations);
    }

    /// Records that the server is about to stop.
    pub(super) fn leave(&self) {
        self.is_leaving.store(true, Relaxed);
    }

    /// Returns the current state. An agent that falls out of its registry later can still be
    /// called, so that the loss of a registry does not take all servers out of service.
    pub(super) fn check(&self) -> Checks {
        let registrations = self.registrations.get().and_then(Weak::upgrade);
        let is_registered = registrations.map(|registrations| {
            if self.has_registered.load(Relaxed) {
                return true;
            }
            let all = registrations.iter().all(RegistrationHandle::is_registered);
            self.has_registered.store(all, Relaxed);
            all
        });
        Checks {
            is_serving: !self.is_leaving.load(Relaxed),
            is_registered,
        }
    }
}
