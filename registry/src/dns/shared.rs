//! The last answer of a name server, which all lookups share.

use std::{io, sync::Arc, time::Duration};

use agentwire_transport::{Endpoint, internal::jittered};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::resolver::Resolve;
use crate::{
    RegistryError,
    fixed::{address::with_host, contents::Contents},
};

pub(super) struct Shared {
    /// The address of the registry, for errors.
    address: Arc<str>,
    /// An endpoint whose host is the DNS name.
    template: Endpoint,
    resolver: Arc<dyn Resolve>,
    interval: Duration,
    /// The lock is held during a lookup, so that others wait for its answer.
    answer: Arc<Mutex<Answer>>,
}

#[derive(Default)]
struct Answer {
    endpoints: Vec<Endpoint>,
    /// The time of the last lookup, which may have failed.
    at: Option<Instant>,
    /// Why the last lookup failed.
    failure: Option<RegistryError>,
    /// Whether the last lookup found no address, although the one before found some.
    is_doubtful: bool,
}

impl Shared {
    pub(super) fn new(address: &str, template: Endpoint, resolver: impl Resolve) -> Self {
        Self {
            address: address.into(),
            template,
            resolver: Arc::new(resolver),
            interval: INTERVAL,
            answer: Arc::default(),
        }
    }

    pub(super) fn with_interval(&self, interval: Duration) -> Self {
        Self {
            address: Arc::clone(&self.address),
            template: self.template.clone(),
            resolver: Arc::clone(&self.resolver),
            interval,
            answer: Arc::clone(&self.answer),
        }
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Returns how long a watch waits for its next lookup.
    pub(super) fn pause(&self) -> Duration {
        jittered(self.interval, 1.0 / 3.0)
    }

    /// Looks the name up, unless that was done a moment ago.
    ///
    /// # Errors
    ///
    /// Returns [`RegistryError::Unavailable`] if the name server does not answer.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, another caller that waits repeats the lookup.
    pub(super) async fn contents(&self) -> Result<Contents, RegistryError> {
        let mut answer = self.answer.lock().await;
        let is_fresh = answer.at.is_some_and(|at| at.elapsed() < FRESH);
        if !is_fresh {
            self.refresh(&mut answer).await;
        }
        if let Some(failure) = &answer.failure {
            return Err(failure.clone());
        }
        Ok(Contents::Endpoints {
            label: self.name().to_owned(),
            endpoints: answer.endpoints.clone(),
        })
    }

    async fn refresh(&self, answer: &mut Answer) {
        let resolved = timeout(TIMEOUT, self.resolver.resolve(self.name())).await;
        let resolved = resolved.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        answer.at = Some(Instant::now());
        let addresses = match resolved {
            Ok(addresses) => addresses,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                answer.failure = Some(RegistryError::Unavailable {
                    registry: self.address.to_string(),
                    source: error.into(),
                });
                return;
            }
        };
        answer.failure = None;
        let had_addresses = !answer.endpoints.is_empty();
        answer.is_doubtful = addresses.is_empty() && had_addresses && !answer.is_doubtful;
        if answer.is_doubtful {
            return;
        }
        let mut endpoints: Vec<_> = addresses
            .iter()
            .filter_map(|address| with_host(&self.template, &address.to_string()))
            .collect();
        endpoints.sort();
        endpoints.dedup();
        if endpoints.len() > MAX_ADDRESSES {
            let (address, found) = (&self.address, endpoints.len());
            tracing::warn!(%address, found, max = MAX_ADDRESSES, "DNS name has too many addresses");
            endpoints.truncate(MAX_ADDRESSES);
        }
        answer.endpoints = endpoints;
    }

    fn name(&self) -> &str {
        self.template.host_and_port().map_or("", |(host, _)| host)
    }
}

/// The interval of the lookups of a watch.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long an answer is used by other lookups.
const FRESH: Duration = Duration::from_secs(1);

/// The time limit of one lookup.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of instances, as in other registries.
const MAX_ADDRESSES: usize = 1024;
