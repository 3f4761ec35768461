//! Agents in a server of another program: `http::service`.

use agentwire::{
    LocalAgent, Value,
    http::{HttpService, service},
};
use agentwire_codec::Format;
use bytes::Bytes;
use futures_util::future::poll_fn;
use http::{Method, Request, Response};
use http_body::Body;
use std::pin::pin;
use tower_service::Service;

use crate::{
    common::{ScriptedAgent, within},
    peer::message,
};

async fn ask(service: &mut HttpService, method: Method, path: &str, body: String) -> (u16, Bytes) {
    let request = Request::builder().method(method).uri(path).body(body);
    let answered: Response<_> = within(service.call(request.unwrap())).await.unwrap();
    let status = answered.status().as_u16();
    let (mut body, mut text) = (pin!(answered.into_body()), Vec::new());
    while let Some(frame) = within(poll_fn(|cx| body.as_mut().poll_frame(cx))).await {
        text.extend(frame.unwrap().into_data().unwrap());
    }
    (status, text.into())
}

fn json(text: &[u8]) -> Value {
    Format::Json.decode_value(text).unwrap()
}

#[tokio::test]
async fn a_mounted_agent_answers_all_paths() {
    let mut service = service(ScriptedAgent);
    poll_fn(|cx| Service::<Request<String>>::poll_ready(&mut service, cx))
        .await
        .unwrap();
    let (status, text) = ask(&mut service, Method::POST, "/process", message("")).await;
    assert_eq!(status, 200);
    assert_eq!(json(&text)["payload"]["message"]["content"], "hé");
    let (status, text) = ask(&mut service, Method::POST, "/stream", message("")).await;
    assert_eq!(status, 200);
    assert_eq!(text.windows(6).filter(|part| part == b"data: ").count(), 4);
    for path in ["/health", "/ready", "/live", "/describe"] {
        let (status, text) = ask(&mut service, Method::GET, path, String::new()).await;
        assert_eq!(status, 200, "{path}");
        json(&text);
    }
    let (status, _) = ask(&mut service, Method::GET, "/nope", String::new()).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn the_settings_of_the_builder_apply_to_a_mounted_agent() {
    let limits = agentwire::FrameLimits::default().receive(40);
    let builder = LocalAgent::builder(ScriptedAgent).frame_limits(limits);
    let mut service = builder.http_service().unwrap();
    let (status, text) = ask(&mut service, Method::POST, "/process", message("")).await;
    assert_eq!(status, 413);
    assert_eq!(json(&text)["payload"]["error_details"]["limit"], 40);
    assert!(
        LocalAgent::builder(ScriptedAgent)
            .memory_budget(1)
            .http_service()
            .is_err()
    );
}
