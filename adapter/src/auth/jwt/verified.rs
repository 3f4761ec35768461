//! The tokens that were verified recently: [`VerifiedTokens`].

use std::{collections::HashMap, fmt, mem};

use agentwire_transport::internal::Mutex;

use crate::{Principal, auth::TokenDigest};

/// What a valid token says.
#[derive(Debug, Clone)]
pub(super) struct Verified {
    pub(super) principal: Principal,
    /// Seconds since 1970, as in the token.
    pub(super) expires: f64,
    pub(super) not_before: Option<f64>,
}

impl Verified {
    /// # Errors
    ///
    /// Returns why the token is not valid at `now`.
    pub(super) fn check_time(&self, now: f64) -> Result<(), &'static str> {
        if now >= self.expires + LEEWAY {
            return Err("JWT has expired");
        }
        if self.not_before.is_some_and(|start| start > now + LEEWAY) {
            return Err("JWT is not valid yet");
        }
        Ok(())
    }
}

/// The principals of tokens that one set of keys has verified, by the digest of the whole token.
///
/// The set is bounded. Tokens that were not used for a while make room for others, and are then
/// verified again.
#[derive(Default)]
pub(super) struct VerifiedTokens(Mutex<Generations>);

/// When `current` is full, it becomes `last`, and the tokens that have not been used since are
/// forgotten.
#[derive(Default)]
struct Generations {
    current: HashMap<[u8; 32], Verified>,
    last: HashMap<[u8; 32], Verified>,
}

impl VerifiedTokens {
    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Verified> {
        let mut tokens = self.0.lock();
        if let Some(verified) = tokens.current.get(digest.bytes()) {
            return Some(verified.clone());
        }
        let verified = tokens.last.remove(digest.bytes())?;
        tokens.insert(digest, verified.clone());
        Some(verified)
    }

    pub(super) fn insert(&self, digest: TokenDigest, verified: Verified) {
        self.0.lock().insert(&digest, verified);
    }
}

impl fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedTokens").finish_non_exhaustive()
    }
}

impl Generations {
    fn insert(&mut self, digest: &TokenDigest, verified: Verified) {
        if self.current.len() >= GENERATION {
            self.last = mem::take(&mut self.current);
        }
        self.current.insert(*digest.bytes(), verified);
    }
}

/// The seconds by which the clocks of the issuer and of this machine may differ.
const LEEWAY: f64 = 60.0;

/// The number of tokens in a generation.
const GENERATION: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn verified(name: &str) -> Verified {
        Verified {
            principal: Principal::new(name),
            expires: 0.0,
            not_before: None,
        }
    }

    #[test]
    fn tokens_in_use_stay_and_the_number_is_bounded() {
        let tokens = VerifiedTokens::default();
        let used = TokenDigest::of("used");
        tokens.insert(used, verified("alice"));
        for number in 0..5 * GENERATION {
            tokens.insert(TokenDigest::of(&number.to_string()), verified("bob"));
            let found = tokens.get(&used).map(|found| found.principal);
            assert_eq!(found, Some(Principal::new("alice")));
        }
        let generations = tokens.0.lock();
        assert!(generations.current.len() + generations.last.len() <= 2 * GENERATION);
        drop(generations);
        assert!(tokens.get(&TokenDigest::of("0")).is_none());
    }
}
