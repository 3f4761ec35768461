//! Health, readiness and descriptions of a server.

use agentwire_codec::{Format, Map, Value, map};
use http::{HeaderMap, Response, StatusCode};

use super::{
    HttpServer,
    body::ReplyBody,
    exchange::Exchange,
    form::Form,
    reply::{self, Refusal},
};
use crate::description::DESCRIBE;

/// Returns the answer to `/health`: the server runs.
pub(super) fn health(http: &HttpServer) -> Response<ReplyBody> {
    let health = map! {
        "status": "healthy",
        "version": env!("CARGO_PKG_VERSION"),
        "uptime": http.started.elapsed().as_secs_f64(),
        "agent": http.service.name(),
    };
    value(StatusCode::OK, health)
}

/// Returns the answer to `/ready`: whether the server wants new calls.
pub(super) fn ready(http: &HttpServer) -> Response<ReplyBody> {
    let ready = http.readiness.check();
    let ok = |is_ok: bool, otherwise: &'static str| if is_ok { "ok" } else { otherwise };
    let mut checks = map! {"server": (ok(ready.is_serving, "stopping")), "agent": "ok"};
    if let Some(is_registered) = ready.is_registered {
        checks.insert("registry", ok(is_registered, "pending"));
    }
    let status = if ready.are_ok() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    value(status, map! {"ready": (ready.are_ok()), "checks": checks})
}

/// Returns the answer to `/live`: the process makes progress.
pub(super) fn live() -> Response<ReplyBody> {
    value(StatusCode::OK, map! {"alive": true})
}

/// Returns the answer to `/describe`: the agents and tools of the server.
pub(super) async fn describe(exchange: &Exchange, headers: &HeaderMap) -> Response<ReplyBody> {
    match exchange.ask(headers, DESCRIBE).await {
        Ok(description) => value(StatusCode::OK, description),
        Err(refusal) => refusal.into_response(),
    }
}

/// Returns the answer to `/.well-known/agent-card.json`: the first agent and the tools.
pub(super) async fn card(exchange: &Exchange, headers: &HeaderMap) -> Response<ReplyBody> {
    match exchange.ask(headers, DESCRIBE).await {
        Ok(mut description) => value(StatusCode::OK, card_of(&mut description)),
        Err(refusal) => refusal.into_response(),
    }
}

/// Returns the answer to `/auth`: whether requests need a credential, and whether the credential of
/// this one is valid.
pub(super) async fn auth(exchange: &Exchange, headers: &HeaderMap) -> Response<ReplyBody> {
    let caller = exchange.caller_of(headers);
    let has_credential = caller.is_some();
    let caller = caller.unwrap_or_else(|| (*exchange.caller).clone());
    let checked = exchange.http.service.check_credential(caller).await;
    if let Err(error) = checked {
        let id = agentwire_codec::RequestId::unknown();
        return Refusal::new(id, error)
            .in_form(Form::Message)
            .into_response();
    }
    let is_required = exchange.http.service.authenticates();
    let mut schemes = Vec::new();
    if is_required {
        schemes.push("bearer");
    }
    let auth = map! {
        "required": is_required,
        "schemes": schemes,
        "authenticated": (is_required && has_credential),
    };
    value(StatusCode::OK, auth)
}

fn card_of(description: &mut Map) -> Map {
    let agents = description.remove("agents").unwrap_or_default();
    let agents = agents.as_list().unwrap_or_default();
    let first = agents.first().and_then(Value::as_map);
    let part = |key: &str| first.and_then(|first| first.get(key)).cloned();
    let mut card = Map::from([("name", part("name").unwrap_or_else(|| "".into()))]);
    if let Some(version) = part("version").filter(|version| !version.is_null()) {
        card.insert("version", version);
    }
    let capabilities = part("capabilities").unwrap_or_else(|| Map::new().into());
    card.insert("capabilities", capabilities);
    let tools = description.remove("tools");
    card.insert("tools", tools.unwrap_or_else(|| Value::List(Vec::new())));
    if agents.len() > 1 {
        card.insert("agents", Value::List(agents.to_vec()));
    }
    card
}

fn value(status: StatusCode, value: Map) -> Response<ReplyBody> {
    let mut text = Vec::new();
    match Format::Json.encode_value(&value.into(), &mut text) {
        Ok(()) => reply::json(status, ReplyBody::whole(text)),
        Err(error) => {
            let id = agentwire_codec::RequestId::unknown();
            Refusal::new(id, reply::unsendable(&error)).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_describes_the_first_agent_and_lists_several() {
        let agent = |name: &str| map! {"name": name, "version": null, "capabilities": {"a": 1}};
        let mut one = map! {"agents": [(agent("x"))], "tools": []};
        let card = map! {"name": "x", "capabilities": {"a": 1}, "tools": []};
        assert_eq!(card_of(&mut one), card);
        let mut two = map! {"agents": [(agent("x")), (agent("y"))], "tools": []};
        let card = card_of(&mut two);
        assert_eq!(card["name"], "x");
        assert_eq!(card["agents"].as_list().map(<[Value]>::len), Some(2));
        assert_eq!(card_of(&mut Map::new())["name"], "");
    }
}
