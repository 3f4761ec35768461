"""Frames, envelopes and messages: what goes over a socket of any kind."""

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
    """The other side sent something that PROTOCOL.md does not allow; says how it is answered."""

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
    """A frame was announced that is longer than this side accepts."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(
            MALFORMED_PAYLOAD,
            f"A frame of {length} bytes is over the limit of {limit}",
            {"length": length, "limit": limit},
        )


class CodecError(Exception):
    """A value cannot be written in the wire format, or bytes cannot be read in it."""


# ---- formats (sections 4 and 10) ----


class Codec(Protocol):
    """A wire format: turns one envelope into a payload and back."""

    def encode(self, value: Any) -> bytes:
        """Writes a value; raises CodecError if the format has no form for it."""

    def decode(self, payload: bytes) -> Any:
        """Reads a whole payload; raises CodecError if it is not exactly one value."""


class JsonCodec:
    """JSON as `json.dumps` and `json.loads` have it with no options (section 4)."""

    def encode(self, value: Any) -> bytes:
        """Writes a value."""
        try:
            return json.dumps(value).encode("ascii")
        except (TypeError, ValueError, RecursionError) as error:
            raise CodecError(f"Not a JSON value: {error}") from error

    def decode(self, payload: bytes) -> Any:
        """Reads a payload."""
        # Given bytes, json.loads would also take UTF-16, UTF-32 and a byte-order mark.
        try:
            return json.loads(payload.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise CodecError(f"Not JSON: {error}") from error


class MsgpackCodec:
    """MessagePack as the package msgpack has it with no options (section 10)."""

    def __init__(self) -> None:
        try:
            import msgpack
        except ImportError as error:
            raise CodecError(
                "MessagePack needs the package msgpack; scripts/python-packages installs it"
            ) from error
        self._msgpack = msgpack

    def encode(self, value: Any) -> bytes:
        """Writes a value."""
        try:
            return bytes(self._msgpack.packb(value))
        except (TypeError, ValueError, OverflowError) as error:
            raise CodecError(f"Not a MessagePack value: {error}") from error

    def decode(self, payload: bytes) -> Any:
        """Reads a payload."""
        try:
            return self._msgpack.unpackb(payload, ext_hook=_no_extension)
        except (ValueError, self._msgpack.UnpackException) as error:
            raise CodecError(f"Not MessagePack: {error}") from error


def _no_extension(code: int, _: bytes) -> Any:
    raise ValueError(f"an extension of type {code}")


def codec_of(payload: bytes) -> Codec:
    """The format that a payload is in, by its first byte (section 10.2)."""
    first = payload[:1]
    if b"\x80" <= first <= b"\x8f" or first in (b"\xde", b"\xdf"):
        return MsgpackCodec()
    return JsonCodec()


# ---- frames (section 1) ----


def frame(payload: bytes, limit: int = MAX_PAYLOAD) -> bytes:
    """A payload with its length in front; refuses one over the limit."""
    if len(payload) > limit:
        raise CodecError(f"A payload of {len(payload)} bytes is over the limit of {limit}")
    return _HEADER.pack(len(payload)) + payload


async def read_frame(reader: asyncio.StreamReader, limit: int = MAX_PAYLOAD) -> bytes | None:
    """The next payload, or None if the stream ends between frames.

    Raises FrameTooLarge on sight of the length, and EOFError if the stream ends inside a frame.
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
    """An envelope written now, its keys in the order of the wire."""
    return {
        "version": VERSION,
        "type": kind,
        "id": request_id,
        "timestamp": now().isoformat(),
        "payload": payload,
    }


def error_payload(code: str, message: str, details: dict[str, Any]) -> dict[str, Any]:
    """The payload of an `error` envelope."""
    return {"error_code": code, "error_message": message, "error_details": details}


def read_envelope(codec: Codec, payload: bytes) -> dict[str, Any]:
    """Reads and checks an envelope; raises the ProtocolError that section 7.3 answers with."""
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

    # The version decides first: of another one, nothing more is known.
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
    """What an agent takes and gives."""

    role: str
    content: Any
    metadata: dict[str, Any] = field(default_factory=dict)
    timestamp: datetime = field(default_factory=now)

    def to_wire(self) -> dict[str, Any]:
        """The message as an object, all four keys in the order of the wire."""
        return {
            "role": self.role,
            "content": self.content,
            "metadata": self.metadata,
            "timestamp": self.timestamp.isoformat(),
        }

    @classmethod
    def from_wire(cls, data: Any) -> "Message":
        """Reads a message object; raises ValueError with the rule that it breaks."""
        if not isinstance(data, dict):
            raise ValueError("it is not an object")
        role = data.get("role")
        if not isinstance(role, str) or not role:
            raise ValueError("'role' is not a text with something in it")
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
