//! The settings of HTTP endpoints: [`HttpOptions`].

/// The settings of the HTTP endpoints of a server.
///
/// ```
/// use agentwire::http::HttpOptions;
///
/// let options = HttpOptions::new().allowed_origin("https://console.example");
/// # let _ = options;
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct HttpOptions {
    allowed_origins: Vec<String>,
    invoke_routes: bool,
}

impl HttpOptions {
    /// Creates the default settings.
    pub fn new() -> Self {
        Self::default()
    }

    /// Allows web pages of an origin, such as `https://console.example`, to call the server (CORS).
    /// The origin `*` stands for all origins. Call this method once for each origin. By default,
    /// requests of pages are refused, because any page that a user of the machine opens can send
    /// them. Other clients name no origin.
    pub fn allowed_origin(mut self, origin: impl Into<String>) -> Self {
        self.allowed_origins.push(origin.into());
        self
    }

    /// Sets whether the server also has the routes `POST /invoke`, `POST /invoke/stream` and `GET
    /// /auth`, whose bodies are bare messages instead of envelopes ([PROTOCOL 15.2]). The default
    /// is `false`.
    ///
    /// [PROTOCOL 15.2]: https://github.com/agentwire/agentwire/blob/main/PROTOCOL.md#15-other-carriers
    pub fn invoke_routes(mut self, has: bool) -> Self {
        self.invoke_routes = has;
        self
    }

    pub(super) fn has_invoke_routes(&self) -> bool {
        self.invoke_routes
    }

    /// Returns whether no page may call the server.
    pub(super) fn is_closed(&self) -> bool {
        self.allowed_origins.is_empty()
    }

    /// Returns the value of `Access-Control-Allow-Origin` for a page of `origin`.
    pub(super) fn allowed(&self, origin: &str) -> Option<&str> {
        let allowed = self.allowed_origins.iter();
        let mut allowed = allowed.filter(|allowed| *allowed == "*" || *allowed == origin);
        allowed.next().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_allowed_only_if_it_or_all_origins_are_listed() {
        let none = HttpOptions::new();
        assert_eq!(none.allowed("https://a"), None);
        let one = HttpOptions::new().allowed_origin("https://a");
        assert_eq!(one.allowed("https://a"), Some("https://a"));
        assert_eq!(one.allowed("https://b"), None);
        assert_eq!(one.allowed_origin("*").allowed("https://b"), Some("*"));
    }
}
