//! JSON Web Tokens: [`Jwt`].

mod key;
mod verified;

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use agentwire_codec::{Map, Value, json};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

pub(super) use self::key::Algorithm;
use self::{
    key::Key,
    verified::{Verified, VerifiedTokens},
};
use super::{TokenDigest, authenticate::Denied, identities::is_principal_name};
use crate::Principal;

/// Verifies tokens of one issuer.
///
/// The algorithm must be one of the configured ones, and fit the key. The claims `exp`, `iss`,
/// `aud` and `sub` are required.
#[derive(Debug)]
pub(super) struct Jwt {
    keys: HashMap<String, (Key, Option<Algorithm>)>,
    algorithms: Vec<Algorithm>,
    issuer: String,
    audience: String,
    principals: HashMap<String, Principal>,
    roles_claim: Option<String>,
    /// Tokens that were verified with these keys. Verifying takes longer than a whole call.
    verified: VerifiedTokens,
}

impl Jwt {
    /// Reads a key set (RFC 7517). Keys that are not for signatures, and of unknown types, are
    /// ignored.
    ///
    /// # Errors
    ///
    /// Returns what is wrong with the key set.
    pub(super) fn new(
        jwks: &[u8],
        algorithms: &[Algorithm],
        issuer: &str,
        audience: &str,
    ) -> Result<Self, String> {
        let set = json::from_slice(jwks).map_err(|error| error.to_string())?;
        let list = set
            .get("keys")
            .and_then(Value::as_list)
            .ok_or("`keys` must be a list")?;
        let mut keys = HashMap::new();
        for key in list.iter().filter_map(Value::as_map) {
            let text = |name: &str| key.get(name).and_then(Value::as_str);
            if text("use").is_some_and(|usage| usage != "sig") {
                continue;
            }
            let Some(kid) = text("kid") else {
                return Err("each key must have a `kid`".to_owned());
            };
            let Some(read) = Key::read(key) else {
                continue;
            };
            let algorithm = text("alg").and_then(Algorithm::from_name);
            if keys.insert(kid.to_owned(), (read, algorithm)).is_some() {
                return Err("two keys have the same `kid`".to_owned());
            }
        }
        if keys.is_empty() {
            return Err("there is no key for signatures".to_owned());
        }
        Ok(Self {
            keys,
            algorithms: algorithms.to_vec(),
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            principals: HashMap::new(),
            roles_claim: None,
            verified: VerifiedTokens::default(),
        })
    }

    /// Sets the known principals, and the claim with the roles. Without the claim, the roles are
    /// those of the principal whose name is the subject of the token.
    pub(super) fn with_principals(
        mut self,
        principals: HashMap<String, Principal>,
        roles_claim: Option<String>,
    ) -> Self {
        self.principals = principals;
        self.roles_claim = roles_claim;
        self
    }

    /// # Errors
    ///
    /// Returns why the token is not valid.
    pub(super) fn verify(&self, token: &str) -> Result<Principal, Denied> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.verify_at(token, now.as_secs_f64())
            .map_err(Denied::new)
    }

    fn verify_at(&self, token: &str, now: f64) -> Result<Principal, &'static str> {
        if token.len() > MAX_TOKEN {
            return Err("JWT is too long");
        }
        let digest = TokenDigest::of(token);
        if let Some(verified) = self.verified.get(&digest) {
            verified.check_time(now)?;
            return Ok(verified.principal);
        }
        let verified = self.verify_claims(token)?;
        verified.check_time(now)?;
        let principal = verified.principal.clone();
        self.verified.insert(digest, verified);
        Ok(principal)
    }

    /// Verifies everything except that the token is valid now.
    fn verify_claims(&self, token: &str) -> Result<Verified, &'static str> {
        let claims = self.verify_signature(token)?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let time = |name: &str| match claims.get(name) {
            None => Ok(None),
            // A time that cannot be read must not count as absent.
            Some(value) => seconds(value).map(Some).ok_or(()),
        };
        let Ok(Some(expires)) = time("exp") else {
            return Err("JWT has no valid exp");
        };
        let Ok(not_before) = time("nbf") else {
            return Err("JWT has no valid nbf");
        };
        if text("iss") != Some(&*self.issuer) {
            return Err("JWT has another issuer");
        }
        let is_audience = match claims.get("aud") {
            Some(Value::Text(audience)) => *audience == self.audience,
            Some(Value::List(list)) => list
                .iter()
                .any(|audience| audience.as_str() == Some(&*self.audience)),
            _ => false,
        };
        if !is_audience {
            return Err("JWT has another audience");
        }
        let subject = text("sub")
            .filter(|subject| is_principal_name(subject))
            .ok_or("JWT has no sub of 1 to 128 bytes without control characters")?;
        Ok(Verified {
            principal: self.principal(subject, &claims)?,
            expires,
            not_before,
        })
    }

    fn principal(&self, subject: &str, claims: &Map) -> Result<Principal, &'static str> {
        let known = self.principals.get(subject);
        let Some(claim) = &self.roles_claim else {
            return known.cloned().ok_or("JWT has an unknown sub");
        };
        let mut principal = Principal::new(subject);
        if let Some(namespace) = known.and_then(Principal::namespace) {
            principal = principal.with_namespace(namespace);
        }
        match claims.get(claim) {
            Some(Value::List(roles)) => {
                for role in roles.iter().filter_map(Value::as_str) {
                    principal = principal.with_role(role);
                }
            }
            // As the claim `scope` of OAuth.
            Some(Value::Text(roles)) => {
                for role in roles.split_whitespace() {
                    principal = principal.with_role(role);
                }
            }
            _ => {}
        }
        Ok(principal)
    }

    fn verify_signature(&self, token: &str) -> Result<Map, &'static str> {
        let (signed, signature) = token.rsplit_once('.').ok_or("unknown credential")?;
        let (header, claims) = signed.split_once('.').ok_or("unknown credential")?;
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
        let map = |text: &str| match json::from_slice(&part(text)?) {
            Ok(Value::Map(map)) => Some(map),
            _ => None,
        };
        let header = map(header).ok_or("unknown credential")?;
        if header.contains_key("crit") {
            return Err("JWT has unknown critical headers");
        }
        let named = header
            .get("alg")
            .and_then(Value::as_str)
            .and_then(Algorithm::from_name);
        let algorithm = named
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or("JWT has an algorithm that is not allowed")?;
        let kid = header
            .get("kid")
            .and_then(Value::as_str)
            .ok_or("JWT has no kid")?;
        let (key, only) = self.keys.get(kid).ok_or("JWT has an unknown kid")?;
        if only.is_some_and(|only| only != algorithm) {
            return Err("JWT has an algorithm that its key does not have");
        }
        let signature = part(signature).ok_or("unknown credential")?;
        if !key.verifies(algorithm, signed.as_bytes(), &signature) {
            return Err("JWT has a wrong signature");
        }
        map(claims).ok_or("JWT has no claims")
    }
}

/// Reads a time of a token (RFC 7519, NumericDate), which is an integer or a fraction.
fn seconds(value: &Value) -> Option<f64> {
    let integer = || value.as_i64().map(|seconds| seconds as f64);
    let seconds = value.as_f64().or_else(integer)?;
    seconds.is_finite().then_some(seconds)
}

const MAX_TOKEN: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use agentwire_codec::map;
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    const NOW: f64 = 1_800_000_000.0;

    fn encode(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }

    fn jwt(algorithms: &[Algorithm]) -> Jwt {
        let x = encode(pair().public_key());
        let set =
            format!(r#"{{"keys": [{{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": "{x}"}}]}}"#);
        let jwt = Jwt::new(set.as_bytes(), algorithms, "iss", "agents").unwrap();
        jwt.with_principals(HashMap::new(), Some("roles".to_owned()))
    }

    fn sign(header: &Map, claims: &Map) -> String {
        let text = |map: &Map| encode(Value::Map(map.clone()).to_string());
        let signed = format!("{}.{}", text(header), text(claims));
        let signature = encode(pair().sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    fn header() -> Map {
        map! {"alg": "EdDSA", "kid": "k"}
    }

    fn claims() -> Map {
        map! {
            "iss": "iss", "aud": "agents", "sub": "alice", "exp": (NOW + 60.0),
            "roles": ["agent-consumer"]
        }
    }

    #[test]
    fn a_signed_token_gives_its_subject_and_roles() {
        let verified = jwt(&[Algorithm::EdDsa]).verify_at(&sign(&header(), &claims()), NOW);
        let alice = Principal::new("alice").with_role("agent-consumer");
        assert_eq!(verified, Ok(alice));
    }

    #[test]
    fn times_are_integers_or_fractions() {
        for (exp, is_accepted) in [
            (Value::from(1_800_000_060_u64), true),
            (Value::from(1_799_999_939_u64), false),
            (Value::from(NOW + 0.5), true),
            (Value::from(-1), false),
            (Value::from(u64::MAX), false),
            (Value::from(true), false),
        ] {
            let mut claims = claims();
            claims.insert("exp", exp.clone());
            claims.insert("nbf", 1_700_000_000_u64);
            let verified = jwt(&[Algorithm::EdDsa]).verify_at(&sign(&header(), &claims), NOW);
            assert_eq!(verified.is_ok(), is_accepted, "{exp:?}: {verified:?}");
        }
    }

    /// The keys and the tokens were made by OpenSSL 3.0.
    #[test]
    fn tokens_of_another_implementation_are_accepted_with_their_own_key_only() {
        let keys = include_bytes!("testdata/jwks.json");
        let tokens = json::from_slice(include_bytes!("testdata/tokens.json")).unwrap();
        let tokens = tokens.as_map().unwrap();
        assert_eq!(tokens.len(), 3);
        let alice = Principal::new("alice").with_role("agent-consumer");
        for (name, token) in tokens {
            let algorithm = Algorithm::from_name(name).unwrap();
            let jwt = Jwt::new(keys, &[algorithm], "iss", "agents").unwrap();
            let jwt = jwt.with_principals(HashMap::new(), Some("roles".to_owned()));
            let token = token.as_str().unwrap();
            assert_eq!(jwt.verify_at(token, NOW), Ok(alice.clone()), "{name}");
            let (signed, _) = token.rsplit_once('.').unwrap();
            for other in tokens.iter().filter(|(other, _)| *other != name) {
                let (_, signature) = other.1.as_str().unwrap().rsplit_once('.').unwrap();
                let forged = format!("{signed}.{signature}");
                assert!(
                    jwt.verify_at(&forged, NOW).is_err(),
                    "{name} by {}",
                    other.0
                );
            }
        }
    }

    #[test]
    fn every_wrong_claim_and_header_is_refused() {
        let jwt = jwt(&[Algorithm::EdDsa]);
        let with = |key: &str, value: Value| {
            let mut claims = claims();
            claims.insert(key, value);
            claims
        };
        for claims in [
            with("exp", (NOW - 61.0).into()),
            with("exp", Value::Null),
            with("exp", "9999999999".into()),
            with("exp", f64::NAN.into()),
            with("nbf", (NOW + 61.0).into()),
            with("nbf", "0".into()),
            with("iss", "other".into()),
            with("aud", "other".into()),
            with("aud", vec!["other"].into()),
            with("aud", Value::Null),
            with("sub", "".into()),
            with("sub", "a".repeat(129).into()),
            with("sub", "alice\n".into()),
            Map::new(),
        ] {
            assert!(
                jwt.verify_at(&sign(&header(), &claims), NOW).is_err(),
                "{claims:?}"
            );
        }
        for header in [
            map! {"alg": "none", "kid": "k"},
            map! {"alg": "HS256", "kid": "k"},
            map! {"alg": "ES256", "kid": "k"},
            map! {"alg": "EdDSA", "kid": "other"},
            map! {"alg": "EdDSA"},
            map! {"alg": "EdDSA", "kid": "k", "crit": ["x"]},
        ] {
            assert!(
                jwt.verify_at(&sign(&header, &claims()), NOW).is_err(),
                "{header:?}"
            );
        }
        let token = sign(&header(), &claims());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        for broken in [
            format!("{signed}."),
            format!("{signed}.{}", encode([0; 64])),
            format!("{signed}.{signature}."),
            signed.to_owned(),
            String::new(),
            "a.b.c".to_owned(),
        ] {
            assert!(jwt.verify_at(&broken, NOW).is_err(), "{broken}");
        }
        let none = self::jwt(&[Algorithm::Rs256]);
        assert!(
            none.verify_at(&token, NOW).is_err(),
            "the algorithm is not allowed"
        );
    }

    #[test]
    fn a_token_that_was_verified_is_checked_for_its_time_and_its_signature_again() {
        let jwt = jwt(&[Algorithm::EdDsa]);
        let mut claims = claims();
        claims.insert("nbf", NOW);
        let token = sign(&header(), &claims);
        for _ in 0..2 {
            assert!(jwt.verify_at(&token, NOW).is_ok());
        }
        assert_eq!(
            jwt.verify_at(&token, NOW + 120.0),
            Err("JWT has expired"),
            "a minute after exp"
        );
        assert_eq!(
            jwt.verify_at(&token, NOW - 61.0),
            Err("JWT is not valid yet")
        );
        let (signed, _) = token.rsplit_once('.').unwrap();
        let forged = format!("{signed}.{}", encode([7; 64]));
        assert_eq!(
            jwt.verify_at(&forged, NOW),
            Err("JWT has a wrong signature")
        );
    }

    #[test]
    fn the_clocks_may_differ_by_a_minute() {
        let jwt = jwt(&[Algorithm::EdDsa]);
        let mut claims = claims();
        claims.insert("exp", NOW - 59.0);
        claims.insert("nbf", NOW + 59.0);
        claims.insert("aud", vec!["x", "agents"]);
        assert!(jwt.verify_at(&sign(&header(), &claims), NOW).is_ok());
    }

    #[test]
    fn without_a_claim_the_roles_are_those_of_the_file() {
        let known = Principal::new("alice")
            .with_role("observer")
            .with_namespace("prod");
        let principals = HashMap::from([("alice".to_owned(), known.clone())]);
        let jwt = jwt(&[Algorithm::EdDsa]).with_principals(principals, None);
        assert_eq!(jwt.verify_at(&sign(&header(), &claims()), NOW), Ok(known));
        let mut claims = claims();
        claims.insert("sub", "bob");
        assert!(jwt.verify_at(&sign(&header(), &claims), NOW).is_err());
    }

    #[test]
    fn a_wrong_key_set_is_refused() {
        for set in ["", "{}", r#"{"keys": []}"#, r#"{"keys": [{"kty": "OKP"}]}"#] {
            assert!(
                Jwt::new(set.as_bytes(), &Algorithm::ALL, "i", "a").is_err(),
                "{set}"
            );
        }
    }
}
