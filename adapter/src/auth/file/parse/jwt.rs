//! Reads the keys that verify the JSON Web Tokens of a file's principals.

use std::collections::HashMap;
#[cfg(feature = "jwt")]
use std::path::Path;

use toml::Spanned;

use super::{entries::JwtEntry, source::Source};
#[cfg(feature = "jwt")]
use crate::auth::jwt::{Algorithm, Jwt};
use crate::{
    Principal,
    auth::file::{AuthFileError, Loaded},
};

impl Source<'_> {
    #[cfg(feature = "jwt")]
    pub(super) fn add_jwt(
        &self,
        spanned: &Spanned<JwtEntry>,
        principals: HashMap<String, Principal>,
        loaded: &mut Loaded,
    ) -> Result<(), AuthFileError> {
        let entry = spanned.get_ref();
        let mut algorithms = Vec::new();
        for name in &entry.algorithms {
            let Some(algorithm) = Algorithm::from_name(name.get_ref()) else {
                let known = Algorithm::ALL.map(Algorithm::as_str).join(", ");
                let problem = format!("unknown algorithm {:?}; there are: {known}", name.get_ref());
                return Err(self.error(name, problem));
            };
            algorithms.push(algorithm);
        }
        if algorithms.is_empty() || entry.issuer.is_empty() || entry.audience.is_empty() {
            let problem = "issuer, audience and algorithms must not be empty";
            return Err(self.error(spanned, problem));
        }
        let directory = self.path.parent().unwrap_or(Path::new(""));
        let path = directory.join(entry.jwks.get_ref());
        let read = std::fs::read(&path);
        let text = read.map_err(|error| {
            let problem = format!("{} cannot be read: {error}", path.display());
            self.error(&entry.jwks, problem)
        })?;
        let jwt = Jwt::new(&text, &algorithms, &entry.issuer, &entry.audience)
            .map_err(|problem| self.error(&entry.jwks, format!("{}: {problem}", path.display())))?
            .with_principals(principals, entry.roles_claim.clone());
        loaded.jwt = Some(jwt);
        loaded.paths.push(path);
        Ok(())
    }

    #[cfg(not(feature = "jwt"))]
    pub(super) fn add_jwt(
        &self,
        spanned: &Spanned<JwtEntry>,
        _: HashMap<String, Principal>,
        _: &mut Loaded,
    ) -> Result<(), AuthFileError> {
        Err(self.error(spanned, "built without JWT: enable the feature `jwt`"))
    }
}
