//! Arguments that are values or their text: [`TextOr`].

use std::str::FromStr;

use semver::{Version, VersionReq};

/// A value that is given directly or as text. Setters such as
/// [`Registration::with_version`](crate::Registration::with_version) accept this type.
///
/// Setters cannot fail, so invalid text is stored and reported later. For example,
/// [`Registry::register`](crate::Registry::register) reports an invalid version.
///
/// ```
/// # mod agentwire { pub extern crate agentwire_registry as registry; }
/// use agentwire::registry::{TextOr, Version};
///
/// let parsed: TextOr<Version> = "1.2.0".into();
/// assert_eq!(parsed, Version::new(1, 2, 0).into());
/// assert!(TextOr::<Version>::from("one").into_result().is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextOr<T>(Result<T, String>);

impl<T> TextOr<T> {
    /// Returns the value.
    ///
    /// # Errors
    ///
    /// Returns the original text if the text is invalid.
    pub fn into_result(self) -> Result<T, String> {
        self.0
    }

    pub(crate) fn as_result(&self) -> Result<&T, &str> {
        self.0.as_ref().map_err(String::as_str)
    }
}

impl<T: FromStr> From<&str> for TextOr<T> {
    fn from(text: &str) -> Self {
        Self(text.parse().map_err(|_| text.to_owned()))
    }
}

impl<T: FromStr> From<String> for TextOr<T> {
    fn from(text: String) -> Self {
        Self(text.parse().map_err(|_| text))
    }
}

impl<T: FromStr> From<&String> for TextOr<T> {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<Version> for TextOr<Version> {
    fn from(version: Version) -> Self {
        Self(Ok(version))
    }
}

impl From<&Version> for TextOr<Version> {
    fn from(version: &Version) -> Self {
        version.clone().into()
    }
}

impl From<VersionReq> for TextOr<VersionReq> {
    fn from(requirement: VersionReq) -> Self {
        Self(Ok(requirement))
    }
}

impl From<&VersionReq> for TextOr<VersionReq> {
    fn from(requirement: &VersionReq) -> Self {
        requirement.clone().into()
    }
}
