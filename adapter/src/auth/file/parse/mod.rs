//! Reads the text of a file.
//!
//! | file | what it does |
//! |---|---|
//! | `principals`, `roles`, `quotas`, `jwt` | check the tables of a file, and convert them |
//! | `source` | finds the line of a problem |
//! | `entries` | the tables and keys of a file, as they are written |

mod entries;
mod jwt;
mod principals;
mod quotas;
mod roles;
mod source;

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
    sync::Arc,
};

use self::{entries::File, principals::Principals, source::Source};
use super::{AuthFileError, Loaded};
use crate::auth::{Certificates, Tokens, Users};

/// # Errors
///
/// Returns an error with the line of what is wrong.
pub(super) fn parse(path: &Path, text: &str) -> Result<Loaded, AuthFileError> {
    let source = Source { path, text };
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| source.line(span.start));
        AuthFileError::new(path, line, without_values(error.message()))
    })?;
    let policy = source.policy(&file.role)?;
    let mut loaded = Loaded {
        tokens: Tokens::new(),
        users: Users::new(),
        certificates: Certificates::new(),
        policy: Arc::new(policy),
        quota: file
            .quota
            .as_ref()
            .map(|quota| source.quota(quota))
            .transpose()?,
        quotas: HashMap::new(),
        namespaces: BTreeSet::new(),
        #[cfg(feature = "jwt")]
        jwt: None,
        paths: vec![path.to_owned()],
    };
    let mut principals = Principals::default();
    for entry in &file.principal {
        source.add_principal(entry, file.jwt.is_some(), &mut principals, &mut loaded)?;
    }
    if let Some(jwt) = &file.jwt {
        source.add_jwt(jwt, principals.by_name, &mut loaded)?;
    }
    Ok(loaded)
}

/// Removes the values of texts from the message of the parser.
fn without_values(message: &str) -> String {
    match (message.find("string \""), message.rfind("\", expected")) {
        (Some(start), Some(end)) if start < end => {
            format!("{}string{}", &message[..start], &message[end + 1..])
        }
        _ => message.lines().next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Quota, TokenDigest};

    fn error(text: &str) -> (usize, String) {
        let error = parse(Path::new("auth.toml"), text).unwrap_err();
        let shown = error.to_string();
        assert!(shown.starts_with("auth.toml:"), "{shown}");
        (error.line().unwrap(), shown)
    }

    fn principal(more: &str) -> String {
        format!("[[principal]]\nname = \"alice\"\n{more}\n")
    }

    #[test]
    fn an_error_has_the_line_and_the_problem() {
        let digest = "0".repeat(64);
        let token = format!("token_sha256 = \"{digest}\"");
        for (text, line, problem) in [
            ("\nquota = 1".to_owned(), 2, "invalid type"),
            ("\n\n[qotas]\n".to_owned(), 3, "unknown field `qotas`"),
            (
                principal("uid = 1\nsecret = \"x\""),
                4,
                "unknown field `secret`",
            ),
            (principal(""), 2, "needs one or more of"),
            (
                principal("token_sha256 = \"abc\""),
                3,
                "64 hexadecimal digits",
            ),
            (
                principal(&format!(
                    "token_sha256 = \"{}\"",
                    TokenDigest::of("").to_hex()
                )),
                3,
                "of an empty text",
            ),
            (principal("uid = 65534"), 3, "65534"),
            (principal("uid = 4294967295"), 3, "identify nobody"),
            (
                principal("uid = 1\nroles = [\"admin\",\n\"boss\"]"),
                5,
                "unknown role \"boss\"",
            ),
            (
                principal("uid = 1\nnamespace = \"a/b\""),
                4,
                "a namespace has",
            ),
            (
                principal("uid = 1\nrequests_per_minute = 0"),
                4,
                "at least 1",
            ),
            (
                principal("uid = 1\nburst = 5"),
                4,
                "needs requests_per_minute",
            ),
            (
                principal("uid = 1") + &principal("uid = 1"),
                6,
                "the same uid",
            ),
            (
                principal("uid = 1") + &principal("uid = 2\nroles = [\"admin\"]"),
                5,
                "other roles",
            ),
            (
                principal(&token) + &principal(&token),
                6,
                "the same token_sha256",
            ),
            (
                "[[role]]\nname = \"admin\"\nallow = []".to_owned(),
                2,
                "built in",
            ),
            (
                "[[role]]\nname = \"r\"\nallow = [{ verbs = [\n\"cal\"] }]".to_owned(),
                4,
                "\"cal\"",
            ),
            (
                "[[role]]\nname = \"r\"\nallow = [{ verbs = [\"execute\"], agents = [\"a\"] }]"
                    .to_owned(),
                3,
                "needs tools",
            ),
            ("[[principal]]\n".to_owned(), 1, "missing field `name`"),
            ("[quota\n".to_owned(), 1, ""),
        ] {
            let (at, shown) = error(&text);
            assert!(at == line && shown.contains(problem), "{text}: {shown}");
        }
    }

    #[test]
    fn an_error_shows_no_value() {
        for more in [
            "uid = \"hunter2\"",
            "token_sha256 = \"hunter2\"",
            "uid = 1\ntoken = \"hunter2\"",
        ] {
            let (_, shown) = error(&principal(more));
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn the_example_of_the_documentation_is_read() {
        let text = format!(
            "{}roles = [\"forecasts\"]\nnamespace = \"prod\"\nquota = {{ streams = 1 }}\n\
             [[role]]\nname = \"forecasts\"\n\
             allow = [{{ verbs = [\"call\", \"stream\"], agents = [\"weather*\"], tools = [\"*\"] }}]\n\
             [quota]\nrequests_per_minute = 1000\nburst = 100\nbytes_per_minute = 1_000\nstreams = 16\n",
            principal("uid = 1000\ncertificate = \"alice.internal\""),
        );
        let loaded = parse(Path::new("auth.toml"), &text).unwrap();
        let quota = Quota::new()
            .requests_per_minute(1000)
            .burst(100)
            .bytes_per_minute(1000);
        assert_eq!(loaded.quota, Some(quota.streams(16)));
        assert_eq!(loaded.quotas["alice"], Quota::new().streams(1));
        assert!(loaded.policy.has_role("forecasts"));
    }
}
