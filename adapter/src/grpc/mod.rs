//! What the two sides of gRPC share: the framing of messages, compression, statuses and timeouts.
//!
//! gRPC is a small protocol above HTTP/2, which the crate `h2` implements. The sessions of servers
//! and the channels of clients drive `h2` themselves, so that the limits, the memory budget and the
//! shutdown of a server hold for gRPC as for all other carriers.

mod compression;
mod log;
mod reader;
mod status;
mod timeout;
mod writer;

pub(crate) use self::{
    compression::Encoding,
    log::{Kind, log_received, log_sent},
    reader::{MessageReader, PREFIX_LEN, Prefix, ReadError},
    status::{Code, Status},
    timeout::{read_timeout, write_timeout},
    writer::{SendError, frame, send},
};

/// The content type of requests and responses. A suffix may name the encoding of the messages.
pub(crate) const CONTENT_TYPE: &str = "application/grpc";

/// The compressions that this side reads.
pub(crate) const ACCEPTED_ENCODINGS: &str = "identity, gzip";

/// Returns whether a content type is that of gRPC.
pub(crate) fn is_grpc(content_type: &[u8]) -> bool {
    content_type
        .strip_prefix(CONTENT_TYPE.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest[0] == b'+' || rest[0] == b';')
}
