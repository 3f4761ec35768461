//! Finds what a request asks for.

use std::fmt::Display;

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CONTENT_LENGTH, ORIGIN, VARY,
    },
};
use http_body::Body;

use super::{
    body::ReplyBody,
    exchange::{Call, Exchange},
    options::HttpOptions,
    probes, reply,
    request::discard,
};

/// What a path stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    Call(Call),
    Health,
    Ready,
    Live,
    Describe,
    Card,
    Auth,
}

impl Route {
    /// Returns the route of a path behind the prefix.
    fn find(path: &str, prefix: &str, options: &HttpOptions) -> Option<Self> {
        let path = path.strip_prefix(prefix)?;
        Some(match path {
            "/invoke" | "/invoke/stream" | "/auth" if !options.has_invoke_routes() => return None,
            "/invoke" => Self::Call(Call::Invoke),
            "/invoke/stream" => Self::Call(Call::InvokeStream),
            "/auth" => Self::Auth,
            "/process" => Self::Call(Call::Process),
            "/stream" => Self::Call(Call::Stream),
            "/execute" => Self::Call(Call::Execute),
            "/health" => Self::Health,
            "/ready" => Self::Ready,
            "/live" => Self::Live,
            "/describe" => Self::Describe,
            "/.well-known/agent-card.json" => Self::Card,
            _ => return None,
        })
    }

    /// Returns whether the route is for health checks, whose answers anyone may read.
    fn is_probe(self) -> bool {
        matches!(self, Self::Health | Self::Ready | Self::Live)
    }

    fn allowed(self) -> &'static str {
        match self {
            Self::Call(_) => "POST",
            _ => "GET,HEAD",
        }
    }

    fn allows(self, method: &Method) -> bool {
        match self {
            Self::Call(_) => method == Method::POST,
            _ => method == Method::GET || method == Method::HEAD,
        }
    }
}

/// Answers a request.
pub(super) async fn answer<B>(exchange: Exchange, request: Request<B>) -> Response<ReplyBody>
where
    B: Body,
    B::Error: Display,
{
    let (head, body) = request.into_parts();
    let http = std::sync::Arc::clone(&exchange.http);
    let options = &http.config.http;
    let route = Route::find(head.uri.path(), &http.prefix, options);
    let mut response = match route {
        None => refuse_unread(&exchange, body, reply::not_found()).await,
        Some(route) if head.method == Method::OPTIONS => preflight(&head.headers, options, route),
        Some(route) if !route.is_probe() && is_foreign(&head.headers, options) => {
            let text = "pages of this origin may not call the server\n";
            let refusal = reply::text(StatusCode::FORBIDDEN, text);
            refuse_unread(&exchange, body, refusal).await
        }
        Some(route) if !route.allows(&head.method) => {
            refuse_unread(&exchange, body, reply::wrong_method(route.allowed())).await
        }
        Some(Route::Call(call)) => exchange.run(call, &head.headers, body).await,
        Some(Route::Health) => probes::health(&http),
        Some(Route::Ready) => probes::ready(&http),
        Some(Route::Live) => probes::live(),
        Some(Route::Describe) => probes::describe(&exchange, &head.headers).await,
        Some(Route::Card) => probes::card(&exchange, &head.headers).await,
        Some(Route::Auth) => probes::auth(&exchange, &head.headers).await,
    };
    allow_origin(&head.headers, options, response.headers_mut());
    if head.method == Method::HEAD {
        let len = response.body().size_hint().exact().unwrap_or_default();
        response.headers_mut().insert(CONTENT_LENGTH, len.into());
        *response.body_mut() = ReplyBody::empty();
    }
    response
}

/// Closes the connection of a refused request whose body has not arrived, unless the body is small.
async fn refuse_unread<B: Body>(
    exchange: &Exchange,
    body: B,
    mut response: Response<ReplyBody>,
) -> Response<ReplyBody> {
    if !discard(body).await {
        exchange.in_flight.activity().set_unread_body();
        let close = HeaderValue::from_static("close");
        response
            .headers_mut()
            .insert(http::header::CONNECTION, close);
    }
    response
}

/// Answers the question of a browser whether a page may make a request.
fn preflight(headers: &HeaderMap, options: &HttpOptions, route: Route) -> Response<ReplyBody> {
    if allowed_origin(headers, options).is_none() {
        return reply::wrong_method(route.allowed());
    }
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allow = response.headers_mut();
    for (header, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, route.allowed()),
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type, x-request-id",
        ),
        (ACCESS_CONTROL_MAX_AGE, "600"),
    ] {
        allow.insert(header, HeaderValue::from_static(value));
    }
    response
}

/// Tells a browser that the page of the request may read the answer.
fn allow_origin(headers: &HeaderMap, options: &HttpOptions, answer: &mut HeaderMap) {
    if options.is_closed() {
        return;
    }
    answer.insert(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = allowed_origin(headers, options) {
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let exposed = HeaderValue::from_static("x-request-id");
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// Returns whether a page calls that may not do so. A browser sends some requests without asking
/// first, and names the origin of the page in all of them.
pub(super) fn is_foreign(headers: &HeaderMap, options: &HttpOptions) -> bool {
    headers.contains_key(ORIGIN) && allowed_origin(headers, options).is_none()
}

/// Returns the origin of a page if it may call the server.
fn allowed_origin(headers: &HeaderMap, options: &HttpOptions) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?.to_str().ok()?;
    HeaderValue::from_str(options.allowed(origin)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_route_only_with_the_prefix_and_nothing_behind() {
        let process = Some(Route::Call(Call::Process));
        for (path, prefix, route) in [
            ("/process", "", process),
            ("/process/", "", None),
            ("/a/process", "", None),
            ("/a/process", "/a", process),
            ("/process", "/a", None),
            ("/aprocess", "/a", None),
            ("/", "", None),
            ("/health", "", Some(Route::Health)),
            ("/.well-known/agent-card.json", "", Some(Route::Card)),
            ("/invoke", "", None),
            ("/invoke/stream", "", None),
            ("/auth", "", None),
        ] {
            let options = HttpOptions::new();
            let found = Route::find(path, prefix, &options);
            assert_eq!(found, route, "{path} {prefix}");
        }
        let options = HttpOptions::new().invoke_routes(true);
        for (path, route) in [
            ("/a/invoke", Route::Call(Call::Invoke)),
            ("/a/invoke/stream", Route::Call(Call::InvokeStream)),
            ("/a/auth", Route::Auth),
            ("/a/process", Route::Call(Call::Process)),
        ] {
            assert_eq!(Route::find(path, "/a", &options), Some(route), "{path}");
        }
    }
}
