//! The tables and keys of a file, as they are written.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) principal: Vec<Spanned<PrincipalEntry>>,
    #[serde(default)]
    pub(super) role: Vec<RoleEntry>,
    pub(super) jwt: Option<Spanned<JwtEntry>>,
    pub(super) quota: Option<QuotaEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PrincipalEntry {
    pub(super) name: Spanned<String>,
    #[serde(default)]
    pub(super) roles: Vec<Spanned<String>>,
    pub(super) namespace: Option<Spanned<String>>,
    pub(super) token_sha256: Option<Spanned<String>>,
    pub(super) uid: Option<Spanned<u32>>,
    pub(super) certificate: Option<Spanned<String>>,
    pub(super) quota: Option<QuotaEntry>,
    pub(super) requests_per_minute: Option<Spanned<u64>>,
    pub(super) burst: Option<Spanned<u64>>,
    pub(super) bytes_per_minute: Option<Spanned<u64>>,
    pub(super) streams: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleEntry {
    pub(super) name: Spanned<String>,
    pub(super) allow: Vec<Spanned<RuleEntry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleEntry {
    pub(super) verbs: Vec<Spanned<String>>,
    pub(super) agents: Option<Vec<String>>,
    pub(super) tools: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(
    not(feature = "jwt"),
    expect(dead_code, reason = "needs the feature `jwt`")
)]
pub(super) struct JwtEntry {
    pub(super) issuer: String,
    pub(super) audience: String,
    pub(super) algorithms: Vec<Spanned<String>>,
    pub(super) jwks: Spanned<PathBuf>,
    pub(super) roles_claim: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct QuotaEntry {
    pub(super) requests_per_minute: Option<Spanned<u64>>,
    pub(super) burst: Option<Spanned<u64>>,
    pub(super) bytes_per_minute: Option<Spanned<u64>>,
    pub(super) streams: Option<u64>,
}
