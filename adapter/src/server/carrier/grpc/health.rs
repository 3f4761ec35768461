//! The health service of gRPC. Draining servers are not healthy, so that clients choose others.

use agentwire_proto::{
    SERVICES,
    health::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus},
};
use prost::Message;

use super::{
    call::{Answer, Context},
    request::{Unread, read_message},
};
use crate::grpc::{Code, MessageReader, Status, frame};

/// Returns the state of a service.
pub(super) async fn check(reader: MessageReader, answer: Answer, context: &Context) {
    let Some((service, answer)) = read(reader, answer, context).await else {
        return;
    };
    match state(&service, context.is_draining()) {
        ServingStatus::ServiceUnknown => {
            answer.end(&Status::new(
                Code::NotFound,
                "the server has no such service",
            ));
        }
        state => answer.end_with(&response(state)).await,
    }
}

/// Returns the state of a service, and its change when the server begins to stop.
pub(super) async fn watch(reader: MessageReader, answer: Answer, context: &Context) {
    let Some((service, mut answer)) = read(reader, answer, context).await else {
        return;
    };
    let mut is_draining = context.is_draining();
    loop {
        let Ok(message) = frame(&response(state(&service, is_draining)), usize::MAX) else {
            return;
        };
        if let Err(error) = answer.message(message).await {
            return answer.give_up(&error);
        }
        if is_draining {
            return answer.end(&Status::new(Code::Unavailable, "the server is stopping"));
        }
        tokio::select! {
            biased;
            () = answer.cancelled() => return,
            () = context.shutdown.started() => is_draining = true,
        }
    }
}

/// Reads the name of a service.
async fn read(
    mut reader: MessageReader,
    mut answer: Answer,
    context: &Context,
) -> Option<(String, Answer)> {
    let message = tokio::select! {
        biased;
        () = answer.cancelled() => return None,
        message = read_message(&mut reader, context) => message,
    };
    let request = match message {
        Ok((message, _)) => HealthCheckRequest::decode(message)
            .map_err(|error| Status::new(Code::Internal, error.to_string())),
        Err(Unread::Status(status)) => Err(status),
        Err(Unread::Gone) => return None,
        Err(Unread::Refused(error)) => Err(Status::new(Code::Unavailable, error.message)),
    };
    match request {
        Ok(request) => Some((request.service, answer)),
        Err(status) => {
            answer.end(&status);
            None
        }
    }
}

fn state(service: &str, is_draining: bool) -> ServingStatus {
    let is_known = service.is_empty() || SERVICES.iter().any(|known| known.name == service);
    match (is_known, is_draining) {
        (false, _) => ServingStatus::ServiceUnknown,
        (true, false) => ServingStatus::Serving,
        (true, true) => ServingStatus::NotServing,
    }
}

fn response(state: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: state.into(),
    }
}
