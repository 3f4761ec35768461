use std::time::Duration;

use agentwire::{
    Endpoint,
    registry::{RemoteRegistry, SharedRegistry},
};

use crate::{exit::Failure, target::parse_target_endpoint};

/// Where a registry is.
#[derive(Debug, Clone)]
pub(crate) struct RegistryUrl(Endpoint);

/// Reads where a registry is.
pub(crate) fn parse_registry_url(text: &str) -> Result<RegistryUrl, String> {
    parse_target_endpoint(text).map(RegistryUrl)
}

impl RegistryUrl {
    /// A client of it, which gives each question so much time. It does not connect yet.
    pub(crate) fn open(&self, timeout: Duration) -> Result<SharedRegistry, Failure> {
        let registry = RemoteRegistry::builder(&self.0).timeout(timeout).build()?;
        Ok(SharedRegistry::new(registry))
    }
}
