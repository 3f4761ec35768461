//! The reflection service of gRPC, which tells clients without the definitions what they can call.

use agentwire_proto::{
    SERVICES, Service,
    reflection::{
        ErrorResponse, FileDescriptorResponse, ListServiceResponse, ServerReflectionRequest,
        ServerReflectionResponse, ServiceResponse,
        server_reflection_request::MessageRequest as Ask,
        server_reflection_response::MessageResponse as Reply,
    },
};
use prost::Message;

use super::call::{Answer, Context};
use crate::grpc::{Code, MessageReader, ReadError, Status, frame};

/// The path of the service.
pub(super) const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// The path of the service in older clients. The messages are the same.
pub(super) const V1_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// Answers all requests of a call, one after the other.
pub(super) async fn serve(mut reader: MessageReader, mut answer: Answer, context: &Context) {
    if answer.stream().is_err() {
        return;
    }
    loop {
        let request = tokio::select! {
            biased;
            () = answer.cancelled() => return,
            () = context.shutdown.started() => {
                return answer.end(&Status::new(Code::Unavailable, "the server is stopping"));
            }
            request = next(&mut reader) => request,
        };
        let request = match request {
            Ok(Some(request)) => request,
            Ok(None) => return answer.end(&Status::OK),
            Err(ReadError::Status(status)) => return answer.end(&status),
            Err(ReadError::Stream(_)) => return,
        };
        let Ok(message) = frame(&respond(request), usize::MAX) else {
            return;
        };
        if let Err(error) = answer.message(message).await {
            return answer.give_up(&error);
        }
    }
}

/// Reads the next request.
async fn next(reader: &mut MessageReader) -> Result<Option<ServerReflectionRequest>, ReadError> {
    let refuse = |code, text: String| ReadError::Status(Status::new(code, text));
    let Some(prefix) = reader.prefix().await? else {
        return Ok(None);
    };
    let too_large = || {
        refuse(
            Code::ResourceExhausted,
            "the request is too large".to_owned(),
        )
    };
    if prefix.len > MAX_REQUEST {
        return Err(too_large());
    }
    let message = reader.message(prefix).await?;
    let encoding = reader.encoding(prefix);
    if encoding.announced_len(&message) > MAX_REQUEST {
        return Err(too_large());
    }
    let message = encoding.decompress(message).map_err(ReadError::Status)?;
    let decoded = ServerReflectionRequest::decode(message);
    decoded
        .map(Some)
        .map_err(|error| refuse(Code::Internal, error.to_string()))
}

fn respond(request: ServerReflectionRequest) -> ServerReflectionResponse {
    let reply = match &request.message_request {
        Some(Ask::ListServices(_)) => Reply::ListServicesResponse(ListServiceResponse {
            service: SERVICES
                .iter()
                .map(|service| ServiceResponse {
                    name: service.name.to_owned(),
                })
                .collect(),
        }),
        Some(Ask::FileByFilename(name)) => file(|service| service.file == name),
        Some(Ask::FileContainingSymbol(symbol)) => file(|service| service.defines(symbol)),
        Some(Ask::FileContainingExtension(_) | Ask::AllExtensionNumbersOfType(_)) => {
            error(Code::NotFound, "the services have no extensions")
        }
        None => error(Code::InvalidArgument, "the request is empty"),
    };
    ServerReflectionResponse {
        valid_host: request.host.clone(),
        original_request: Some(request),
        message_response: Some(reply),
    }
}

fn file(is_wanted: impl Fn(&Service) -> bool) -> Reply {
    match SERVICES.iter().find(|service| is_wanted(service)) {
        Some(service) => Reply::FileDescriptorResponse(FileDescriptorResponse {
            file_descriptor_proto: vec![service.descriptor.to_vec()],
        }),
        None => error(Code::NotFound, "no service has such a file or symbol"),
    }
}

fn error(code: Code, text: &str) -> Reply {
    Reply::ErrorResponse(ErrorResponse {
        error_code: code as i32,
        error_message: text.to_owned(),
    })
}

/// The maximum length of a request, which holds a name.
const MAX_REQUEST: usize = 16 * 1024;
