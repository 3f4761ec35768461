//! The ownership of registrations: [`OwnerKey`] and [`Claim`].

use std::fmt;

use agentwire_codec::RequestId;

/// The secret of the process that owns a registration (PROTOCOL 12.13). The `Debug` output does not
/// contain the secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct OwnerKey(Box<str>);

impl OwnerKey {
    /// Creates a key with 122 random bits, which cannot be guessed.
    pub(crate) fn random() -> Self {
        Self(RequestId::random().to_string().into())
    }

    /// Creates a key from its text. Returns `None` if the text is empty.
    pub(crate) fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty()).then(|| Self(text.into()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares two keys. The duration of the comparison does not depend on the position of the
    /// first difference.
    fn is_same(&self, other: &Self) -> bool {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        a.len() == b.len() && a.iter().zip(b).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
    }
}

impl fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerKey(..)")
    }
}

/// The identity of a process that sends a request or owns a registration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    pub(crate) owner: Option<&'a OwnerKey>,
    /// The instance id, or an empty string if there is none.
    pub(crate) instance: &'a str,
}

impl Claim<'_> {
    /// Returns whether a request with this claim may change a registration with the claim `held`.
    ///
    /// If the registration has a key, the keys must match, because instance ids are public.
    /// Otherwise, the instance ids must match. If the registration has neither a key nor an
    /// instance id, any request may change it.
    pub(crate) fn covers(self, held: Claim<'_>) -> bool {
        match (held.owner, held.instance) {
            (Some(held), _) => self.owner.is_some_and(|owner| owner.is_same(held)),
            (None, "") => true,
            (None, instance) => self.instance == instance,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_outweighs_an_instance_id_and_a_registration_without_both_is_free() {
        let (own, other) = (OwnerKey::new("own"), OwnerKey::new("other"));
        let claim = |owner: &'static str, instance| (OwnerKey::new(owner), instance);
        for (held, allowed, refused) in [
            (
                claim("own", "a"),
                vec![(own.clone(), "a"), (own.clone(), "b")],
                vec![(None, "a"), (other.clone(), "a"), (None, "")],
            ),
            (
                claim("", "a"),
                vec![(None, "a"), (other.clone(), "a")],
                vec![(None, ""), (None, "b"), (own.clone(), "b")],
            ),
            (claim("", ""), vec![(None, ""), (own, "a")], vec![]),
        ] {
            let held = Claim {
                owner: held.0.as_ref(),
                instance: held.1,
            };
            let covers = |(owner, instance): &(Option<OwnerKey>, &'static str)| {
                let owner = owner.as_ref();
                Claim { owner, instance }.covers(held)
            };
            assert!(allowed.iter().all(covers), "{held:?}");
            assert!(!refused.iter().any(covers), "{held:?}");
        }
    }

    #[test]
    fn random_keys_differ_and_are_not_shown() {
        let (a, b) = (OwnerKey::random(), OwnerKey::random());
        assert!(a.is_same(&a.clone()) && !a.is_same(&b));
        assert!(!format!("{a:?}").contains(a.as_str()));
    }
}
