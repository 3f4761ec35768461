//! The services of a server, with their descriptors for the reflection service.

/// A service and the file that defines it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Service {
    /// The full name of the service.
    pub name: &'static str,
    /// The name of the file that defines the service.
    pub file: &'static str,
    /// The encoded `FileDescriptorProto` of the file.
    pub descriptor: &'static [u8],
    /// The names in the file, without their package.
    symbols: &'static [&'static str],
}

impl Service {
    /// Returns whether the file defines a service, a method, a message or an enum with this full
    /// name.
    #[must_use]
    pub fn defines(&self, symbol: &str) -> bool {
        let package = self
            .name
            .rsplit_once('.')
            .map_or("", |(package, _)| package);
        let name = symbol
            .strip_prefix(package)
            .and_then(|rest| rest.strip_prefix('.'));
        name.is_some_and(|name| self.symbols.contains(&name))
    }
}

/// The full name of the service of agents.
pub const SERVICE_NAME: &str = "agenkit.AgentService";

/// The services that a server offers.
pub const SERVICES: [Service; 3] = [
    Service {
        name: SERVICE_NAME,
        file: "agenkit.proto",
        descriptor: include_bytes!("generated/agenkit.bin"),
        symbols: &[
            "AgentService",
            "AgentService.Process",
            "AgentService.ProcessStream",
            "AgentService.BidirectionalStream",
            "Request",
            "Response",
            "StreamChunk",
            "Message",
            "ToolCall",
            "ToolResult",
            "Error",
            "ResponseType",
            "ChunkType",
        ],
    },
    Service {
        name: "grpc.health.v1.Health",
        file: "grpc/health/v1/health.proto",
        descriptor: include_bytes!("generated/grpc.health.v1.bin"),
        symbols: &[
            "Health",
            "Health.Check",
            "Health.Watch",
            "HealthCheckRequest",
            "HealthCheckResponse",
            "HealthCheckResponse.ServingStatus",
        ],
    },
    Service {
        name: "grpc.reflection.v1.ServerReflection",
        file: "grpc/reflection/v1/reflection.proto",
        descriptor: include_bytes!("generated/grpc.reflection.v1.bin"),
        symbols: &[
            "ServerReflection",
            "ServerReflection.ServerReflectionInfo",
            "ServerReflectionRequest",
            "ExtensionRequest",
            "ServerReflectionResponse",
            "FileDescriptorResponse",
            "ExtensionNumberResponse",
            "ListServiceResponse",
            "ServiceResponse",
            "ErrorResponse",
        ],
    },
];
