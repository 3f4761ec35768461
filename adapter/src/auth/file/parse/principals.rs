//! Reads the principals of a file.

use std::collections::HashMap;

use toml::Spanned;

use super::{
    entries::{PrincipalEntry, QuotaEntry},
    source::Source,
};
use crate::{
    Principal,
    auth::{
        Quota, TokenDigest,
        file::{AuthFileError, Loaded},
        identities::{is_nobody, is_principal_name},
    },
};

/// The principals so far, to find duplicates.
#[derive(Default)]
pub(super) struct Principals {
    pub(super) by_name: HashMap<String, Principal>,
    digests: HashMap<String, ()>,
    uids: HashMap<u32, ()>,
    certificates: HashMap<String, ()>,
}

impl Source<'_> {
    pub(super) fn add_principal(
        &self,
        spanned: &Spanned<PrincipalEntry>,
        has_jwt: bool,
        principals: &mut Principals,
        loaded: &mut Loaded,
    ) -> Result<(), AuthFileError> {
        let entry = spanned.get_ref();
        let name = entry.name.get_ref();
        if !is_principal_name(name) {
            let problem = "a name has 1 to 128 bytes and no control characters";
            return Err(self.error(&entry.name, problem));
        }
        let mut principal = Principal::new(name);
        for role in &entry.roles {
            if !loaded.policy.has_role(role.get_ref()) {
                let problem = format!("unknown role {:?}", role.get_ref());
                return Err(self.error(role, problem));
            }
            principal = principal.with_role(role.get_ref());
        }
        if let Some(namespace) = &entry.namespace {
            if !is_namespace(namespace.get_ref()) {
                let problem =
                    "a namespace has 1 to 63 ASCII letters, digits, dots, underscores or hyphens";
                return Err(self.error(namespace, problem));
            }
            principal = principal.with_namespace(namespace.get_ref());
        }
        let known = principals
            .by_name
            .entry(name.clone())
            .or_insert_with(|| principal.clone());
        if *known != principal {
            let problem = format!("principal {name:?} has other roles or another namespace above");
            return Err(self.error(&entry.name, problem));
        }
        let has_none =
            entry.token_sha256.is_none() && entry.uid.is_none() && entry.certificate.is_none();
        if has_none && !has_jwt {
            let problem = format!(
                "principal {name:?} needs one or more of token_sha256, uid and certificate"
            );
            return Err(self.error(&entry.name, problem));
        }
        if let Some(text) = &entry.token_sha256 {
            let Some(digest) = TokenDigest::from_hex(text.get_ref()) else {
                let problem = "token_sha256 must be the 64 hexadecimal digits of a SHA-256 digest; \
                               `agentwire token` prints one";
                return Err(self.error(text, problem));
            };
            if digest == TokenDigest::of("") {
                let problem = "token_sha256 is the digest of an empty text, which is no token";
                return Err(self.error(text, problem));
            }
            if principals.digests.insert(digest.to_hex(), ()).is_some() {
                return Err(self.error(text, "the same token_sha256 is given above"));
            }
            loaded.tokens.insert(digest, principal.clone());
        }
        if let Some(uid) = &entry.uid {
            if is_nobody(*uid.get_ref()) {
                let problem = "uid 65534 stands for all users that the system cannot map, and \
                               4294967295 for none, so they identify nobody";
                return Err(self.error(uid, problem));
            }
            if principals.uids.insert(*uid.get_ref(), ()).is_some() {
                return Err(self.error(uid, "the same uid is given above"));
            }
            let users = std::mem::take(&mut loaded.users);
            loaded.users = users.allow_uid(*uid.get_ref(), principal.clone());
        }
        if let Some(text) = &entry.certificate {
            if text.get_ref().is_empty() {
                return Err(self.error(text, "certificate must be a DNS name or a URI"));
            }
            if principals
                .certificates
                .insert(text.get_ref().clone(), ())
                .is_some()
            {
                return Err(self.error(text, "the same certificate is given above"));
            }
            let certificates = std::mem::take(&mut loaded.certificates);
            loaded.certificates = certificates.allow(text.get_ref(), principal.clone());
        }
        let namespace = principal.namespace().map(str::to_owned);
        loaded.namespaces.insert(namespace);
        if let Some(quota) = self.own_quota(entry)? {
            loaded.quotas.insert(name.clone(), quota);
        }
        Ok(())
    }

    fn own_quota(&self, entry: &PrincipalEntry) -> Result<Option<Quota>, AuthFileError> {
        let direct = QuotaEntry {
            requests_per_minute: entry.requests_per_minute.clone(),
            burst: entry.burst.clone(),
            bytes_per_minute: entry.bytes_per_minute.clone(),
            streams: entry.streams,
        };
        let direct = self.quota(&direct)?;
        match &entry.quota {
            Some(_) if !direct.is_unlimited() => {
                let problem = "the quota is given twice: directly and as `quota`";
                Err(self.error(&entry.name, problem))
            }
            Some(nested) => self.quota(nested).map(Some),
            None if direct.is_unlimited() => Ok(None),
            None => Ok(Some(direct)),
        }
    }
}

fn is_namespace(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=63).contains(&text.len()) && text.bytes().all(is_allowed)
}
