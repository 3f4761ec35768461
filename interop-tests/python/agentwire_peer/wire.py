"""Frames, envelopes and messages, independent of the socket."""

import asyncio
import json
import struct
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from .timestamps import now, parse_timestamp

VERSION = "1.0"
MAX_PAYLOAD = 10 * 1024 * 1024
UNKNOWN_ID = "unknown"
ENVELOPE_TYPES = (
    "request",
    "response",
    "error",
    "heartbeat",
    "register",
    "unregister",
    "stream_chunk",
    "stream_end",
)

INTERNAL_ERROR = "INTERNAL_ERROR"
INVALID_MESSAGE = "INVALID_MESSAGE"
MALFORMED_PAYLOAD = "MALFORMED_PAYLOAD"
UNSUPPORTED_VERSION = "UNSUPPORTED_VERSION"

_HEADER = struct.Struct(">I")


class ProtocolError(Exception):
    """An input from the peer that PROTOCOL.md forbids, with the error that answers it."""

    def __init__(
        self,
        code: str,
        message: str,
        details: dict[str, Any] | None = None,
        request_id: str = UNKNOWN_ID,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.details = details or {}
        self.request_id = request_id


class FrameTooLarge(ProtocolError):
    """The length of a frame exceeds the limit."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(
            MALFORMED_PAYLOAD,
            f"A frame of {length} bytes is over the limit of {limit}",
            {"length": length, "limit": limit},
        )


class CodecError(Exception):
    """A value has no form in a format, or bytes cannot be decoded."""


# ---- formats (sections 4 and 10) ----


class Codec(Protocol):
    """A format that encodes an envelope as a payload, and decodes it."""

    def encode(self, value: Any) -> bytes:
        """Encodes a value; raises CodecError if the format has no form for it."""

    def decode(self, payload: bytes) -> Any:
        """Decodes a payload; raises CodecError unless it is exactly one value."""


class JsonCodec:
    """JSON as written by `json.dumps` and read by `json.loads`, with no options (section 4)."""

    def encode(self, value: Any) -> bytes:
        """Encodes a value."""
        try:
            return json.dumps(value).encode("ascii")
        except (TypeError, ValueError, RecursionError) as error:
            raise CodecError(f"Not a JSON value: {error}") from error

    def decode(self, payload: bytes) -> Any:
        """Decodes a payload."""
        # From bytes, json.loads would also accept UTF-16, UTF-32 and a byte-order mark.
        try:
            return json.loads(payload.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise CodecError(f"Not JSON: {error}") from error


class MsgpackCodec:
    """MessagePack as the package msgpack writes and reads it, with no options (section 10)."""

    def __init__(self) -> None:
        try:
            import msgpack
        except ImportError as error:
            raise CodecError(
                "MessagePack needs the package msgpack; scripts/python-packages installs it"
            ) from error
        self._msgpack = msgpack

    def encode(self, value: Any) -> bytes:
        """Encodes a value."""
        try:
            return bytes(self._msgpack.packb(value))
        except (TypeError, ValueError, OverflowError) as error:
            raise CodecError(f"Not a MessagePack value: {error}") from error

    def decode(self, payload: bytes) -> Any:
        """Decodes a payload."""
        try:
            return self._msgpack.unpackb(payload, ext_hook=_no_extension)
        except (ValueError, self._msgpack.UnpackException) as error:
            raise CodecError(f"Not MessagePack: {error}") from error


def _no_extension(code: int, _: bytes) -> Any:
    raise ValueError(f"an extension of type {code}")


def codec_of(payload: bytes) -> Codec:
    """Returns the format of a payload, which its first byte identifies (rule 10.2)."""
    first = payload[:1]
    if b"\x80" <= first <= b"\x8f" or first in (b"\xde", b"\xdf"):
        return MsgpackCodec()
    return JsonCodec()


# ---- frames (section 1) ----


def frame(payload: bytes, limit: int = MAX_PAYLOAD) -> bytes:
    """Returns a payload with its length in front; raises CodecError if it exceeds the limit."""
    if len(payload) > limit:
        raise CodecError(f"A payload of {len(payload)} bytes is over the limit of {limit}")
    return _HEADER.pack(len(payload)) + payload


async def read_frame(reader: asyncio.StreamReader, limit: int = MAX_PAYLOAD) -> bytes | None:
    """Reads the next payload, or returns None if the stream ends between frames.

    Raises FrameTooLarge before reading the payload, and EOFError if the stream ends inside a frame.
    """
    try:
        header = await reader.readexactly(_HEADER.size)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    (length,) = _HEADER.unpack(header)
    if length > limit:
        raise FrameTooLarge(length, limit)
    return await reader.readexactly(length)


# ---- envelopes (section 2) ----


def envelope(kind: str, request_id: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Returns an envelope with the current time, its keys in the order of the protocol."""
    return {
        "version": VERSION,
        "type": kind,
        "id": request_id,
        "timestamp": now().isoformat(),
        "payload": payload,
    }


def error_payload(code: str, message: str, details: dict[str, Any]) -> dict[str, Any]:
    """Returns the payload of an `error` envelope."""
    return {"error_code": code, "error_message": message, "error_details": details}


def read_envelope(codec: Codec, payload: bytes) -> dict[str, Any]:
    """Decodes and checks an envelope; raises the error of rule 7.3."""
    try:
        value = codec.decode(payload)
    except CodecError as error:
        raise ProtocolError(MALFORMED_PAYLOAD, str(error)) from error
    if not isinstance(value, dict):
        raise ProtocolError(INVALID_MESSAGE, "The envelope is not an object")

    request_id = value.get("id")
    if not isinstance(request_id, str):
        request_id = UNKNOWN_ID

    def refusal(code: str, message: str, details: dict[str, Any] | None = None) -> ProtocolError:
        return ProtocolError(code, message, details, request_id)

    def required(key: str) -> Any:
        if key not in value:
            raise refusal(INVALID_MESSAGE, f"The envelope has no {key!r}")
        return value[key]

    # The version comes first, because another version may define everything else differently.
    if required("version") != VERSION:
        raise refusal(
            UNSUPPORTED_VERSION,
            f"Unsupported protocol version: {value['version']}",
            {"version": value["version"], "supported": [VERSION]},
        )
    if required("type") not in ENVELOPE_TYPES:
        raise refusal(INVALID_MESSAGE, f"Unknown envelope type: {value['type']}")
    if not isinstance(required("id"), str):
        raise refusal(INVALID_MESSAGE, "The envelope's 'id' is not text")
    required("payload")
    if not isinstance(value["payload"], dict):
        raise refusal(MALFORMED_PAYLOAD, "The envelope's 'payload' is not an object")
    return value


# ---- messages (section 3) ----


@dataclass
class Message:
    """A message to or from an agent."""

    role: str
    content: Any
    metadata: dict[str, Any] = field(default_factory=dict)
    timestamp: datetime = field(default_factory=now)

    def to_wire(self) -> dict[str, Any]:
        """Returns the message as an object with all four keys, in the order of the protocol."""
        return {
            "role": self.role,
            "content": self.content,
            "metadata": self.metadata,
            "timestamp": self.timestamp.isoformat(),
        }

    @classmethod
    def from_wire(cls, data: Any) -> "Message":
        """Reads a message from an object; raises ValueError if it is malformed."""
        if not isinstance(data, dict):
            raise ValueError("it is not an object")
        role = data.get("role")
        if not isinstance(role, str) or not role:
            raise ValueError("'role' is not text, or is empty")
        if "content" not in data:
            raise ValueError("it has no 'content'")
        metadata = data.get("metadata")
        if metadata is not None and not isinstance(metadata, dict):
            raise ValueError("'metadata' is not an object")
        timestamp = data.get("timestamp")
        if timestamp is not None and not isinstance(timestamp, str):
            raise ValueError("'timestamp' is not text")
        return cls(
            role=role,
            content=data["content"],
            metadata={} if metadata is None else metadata,
            timestamp=parse_timestamp(timestamp) if timestamp else now(),
        )
