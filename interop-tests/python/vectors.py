#!/usr/bin/env python3
"""Writes the golden vectors: vectors.py json|msgpack

Prints the vectors of one format as a JSON list, one vector per line. codec/tests/vectors holds this
output, and a test compares the two. To change the vectors:

    scripts/python-packages
    target/python/bin/python interop-tests/python/vectors.py json > codec/tests/vectors/json.json
    target/python/bin/python interop-tests/python/vectors.py msgpack > codec/tests/vectors/msgpack.json

Python's own json and the package msgpack wrote the payloads, except for payloads that Python never
writes but a reader must accept or refuse. A vector has these keys:

- `name`, and `rule`, the rule or section of PROTOCOL.md that it tests.
- `payload`: the payload of a frame.
- `written`: the payload that a writer produces for the same envelope; missing if it is the same.
- `refused`: the error code with which a server refuses the payload, and `id`, the id of that error.
  Such a vector has no `written`.

A payload is a list of pieces: text, bytes as `{"hex": BYTES}`, or a repeated piece as
`{"repeat": PIECE, "times": N}`.
"""

import json
import re
import struct
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import msgpack

ID = "67e55044-10b1-426f-9247-bb680e5fe0c8"
TIME = "2025-11-08T12:34:56.789012+00:00"
MAX_DEPTH = 256
MALFORMED = "MALFORMED_PAYLOAD"
INVALID = "INVALID_MESSAGE"

Vector = dict[str, Any]


def message(content: Any, **changes: Any) -> dict[str, Any]:
    """Returns a message as an object."""
    return {"role": "user", "content": content, "metadata": {}, "timestamp": TIME} | changes


def envelope(kind: str, payload: Any, **changes: Any) -> dict[str, Any]:
    """Returns an envelope as an object."""
    head = {"version": "1.0", "type": kind, "id": ID, "timestamp": TIME}
    return head | changes | {"payload": payload}


def call(content: Any, **changes: Any) -> dict[str, Any]:
    """Returns a request to process a message."""
    payload = {"method": "process", "agent_name": "weather"}
    return envelope("request", payload | {"message": message(content, **changes)})


def result(success: bool, data: Any, error: str | None, metadata: Any) -> dict[str, Any]:
    """Returns the result of a tool as an object."""
    return {"success": success, "data": data, "error": error, "metadata": metadata}


ENVELOPES: dict[str, dict[str, Any]] = {
    "request to process": call("What is the weather in San Francisco?"),
    "request without a name": envelope(
        "request", {"method": "process", "message": message("Hi")}
    ),
    "request to stream": envelope(
        "request", {"method": "stream", "agent_name": "weather", "message": message("Hi")}
    ),
    "request to execute": envelope(
        "request", {"method": "execute", "tool_name": "add", "kwargs": {"b": 1, "a": [2, None]}}
    ),
    "request of another method": envelope(
        "request", {"method": "dance", "partner": {"z": 1, "a": 2}}
    ),
    "request without a method": envelope("request", {"agent_name": "weather"}),
    "response with a message": envelope("response", {"message": message("Fog", role="agent")}),
    "response with a result": envelope(
        "response", {"result": result(True, {"sum": 3}, None, {"ms": 0.5})}
    ),
    "response with a failed result": envelope(
        "response", {"result": result(False, None, "no such city", {})}
    ),
    "response to another method": envelope(
        "response", {"steps": ["left", {"to": None}], "partner": {"z": 1, "a": 2}}
    ),
    "response of nothing": envelope("response", {}),
    "chunk of a stream": envelope("stream_chunk", {"message": message("Fo", role="agent")}),
    "end of a stream": envelope("stream_end", {}),
    "error": envelope(
        "error",
        {
            "error_code": "INTERNAL_ERROR",
            "error_message": "it broke",
            "error_details": {"line": 7, "file": "weather"},
        },
    ),
    "error of an unknown frame": envelope(
        "error",
        {"error_code": "QUOTA_EXCEEDED", "error_message": "", "error_details": {}},
        id="unknown",
    ),
    "registration": envelope(
        "register",
        {
            "agent_name": "weather",
            "capabilities": {"tools": [{"name": "forecast"}], "languages": ["en", "no"]},
            "endpoint": "unix:///run/weather.sock",
            "metadata": {"zone": "eu"},
        },
    ),
    "heartbeat": envelope("heartbeat", {"agent_name": "weather", "status": "healthy"}),
    "heartbeat with another status": envelope(
        "heartbeat", {"agent_name": "weather", "status": "busy"}
    ),
    "registration of an instance": envelope(
        "register",
        {
            "agent_name": "weather",
            "capabilities": {},
            "endpoint": "tcp://10.0.0.7:8080",
            "metadata": {},
            "version": "1.2.0-rc.1",
            "instance": "7f9c",
        },
    ),
    "heartbeat of an instance": envelope(
        "heartbeat",
        {
            "agent_name": "weather",
            "status": "healthy",
            "endpoint": "tcp://10.0.0.7:8080",
            "instance": "7f9c",
        },
    ),
    "leave of an instance": envelope(
        "unregister",
        {"agent_name": "weather", "endpoint": "tcp://10.0.0.7:8080", "instance": "7f9c"},
    ),
    "leave": envelope("unregister", {"agent_name": "weather"}),
    "leave without a name": envelope("unregister", {}),
    "id that is no UUID": envelope("stream_end", {}, id='call "7"\n'),
    "id in upper case": envelope("stream_end", {}, id=ID.upper()),
    "role of one's own": call("Hi", role="röle"),
}

CONTENTS: list[tuple[str, str, list[Any]]] = [
    ("null and the flags", "3", [None, True, False]),
    ("empty things", "4.1", ["", [], {}, [[]], [{}], {"": {}}]),
    ("separators", "4.1", [[1, [2, 3], {"a": 4, "b": [5]}]]),
    ("keys in their order", "4.2", [{"z": 1, "a": 2, "m": {"y": 3, "b": 4}, "": 5}]),
    ("quotes and backslashes", "4.3", ['"', "\\", '\\"', "/", "'"]),
    ("control characters", "4.3", ["".join(map(chr, range(0x20))), "\x7f", "\x00"]),
    ("printable ASCII", "4.3", ["".join(map(chr, range(0x20, 0x7F)))]),
    ("Latin and separators", "4.3", ["\x80\x9f\xa0é\xff", "\u2028\u2029\ufeff\ufffd\uffff"]),
    ("every plane", "4.3", ["".join(chr(plane << 16 | 0xE9) for plane in range(17)), "\U0010ffff"]),
    ("around the surrogates", "4.3", ["\ud7ff\ue000", "\U00010000"]),
    ("emoji", "4.3", ["😀 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇺🇳"]),
    ("escapes between plain text", "4.3", ["a" * 40 + "\n" + "b" * 9 + "é" + "c" * 70 + '"']),
    ("keys that are escaped", "4.3", [{'"\n': 1, "é": 2, "\U0001f980": 3}]),
    ("floats with a point", "4.5", [1.0, 0.0, -0.0, 0.1, -2.5, 100.0, 1e15, 123456789012345.67]),
    ("floats that are small", "4.5", [0.0001, 0.00012, 1e-05, 1.5e-05, 1e-10, 5e-324]),
    ("floats that are large", "4.5", [9999999999999998.0, 1e16, 1.5e300, 1e22, 1e23]),
    ("floats at the ends", "4.5", [sys.float_info.max, sys.float_info.min, -sys.float_info.max]),
    ("NaN and the infinities", "4.6", [float("nan"), float("inf"), float("-inf")]),
    ("integers and floats apart", "4.5", [[1, 1.0, -1, -1.0, 0, 0.0]]),
    (
        "integers at the ends of each size",
        "10.1",
        [
            [sign * (1 << bits) + step for sign in (1, -1) for step in (-1, 0, 1)]
            for bits in (0, 5, 7, 8, 15, 16, 31, 32, 53, 62)
        ]
        + [2**63 - 1, -(2**63), 2**64 - 1],
    ),
    ("text at the ends of each size", "10.1", ["x" * n for n in (31, 32, 255, 256, 65535, 65536)]),
    ("lists at the ends of each size", "10.1", [[None] * n for n in (15, 16, 65535, 65536)]),
    ("maps at the ends of each size", "10.1", [{str(i): i for i in range(n)} for n in (15, 16)]),
]


def nested(depth: int) -> Any:
    """Returns nested lists that make an envelope with them `depth` levels deep."""
    value: Any = []
    for _ in range(depth - 4):  # Three levels are the envelope, its payload and the message.
        value = [value]
    return value


def timestamps() -> Iterator[tuple[str, datetime]]:
    """Yields times that are written by isoformat."""
    second, micros = datetime(2025, 11, 8, 12, 34, 56), datetime(2025, 11, 8, 12, 34, 56, 789012)
    yield "without microseconds", second.replace(tzinfo=timezone.utc)
    yield "with microseconds", micros.replace(tzinfo=timezone.utc)
    yield "with one microsecond", second.replace(microsecond=1, tzinfo=timezone.utc)
    yield "without an offset", micros
    for name, offset in [
        ("east", timedelta(hours=5, minutes=30)),
        ("east by seconds", timedelta(hours=5, minutes=30, seconds=15)),
        ("east by microseconds", timedelta(hours=5, seconds=1, microseconds=10)),
        ("west", -timedelta(hours=3, minutes=30)),
        ("far west", -timedelta(hours=23, minutes=59)),
        ("west by seconds", -timedelta(seconds=1)),
    ]:
        yield name, micros.replace(tzinfo=timezone(offset))
    yield "of year 1", datetime(1, 1, 1)
    yield "of year 9999", datetime(9999, 12, 31, 23, 59, 59, 999999)
    yield "of a leap day", datetime(2024, 2, 29, 0, 0, 0, tzinfo=timezone.utc)


READ_TIMES = {
    "with Z": ("2025-11-08T12:34:56Z", "2025-11-08T12:34:56+00:00"),
    "with z": ("2025-11-08T12:34:56z", "2025-11-08T12:34:56+00:00"),
    "with nine digits": ("2025-11-08T12:34:56.123456789Z", "2025-11-08T12:34:56.123456+00:00"),
    "with one digit": ("2025-11-08T12:34:56.7Z", "2025-11-08T12:34:56.700000+00:00"),
    "with twenty digits": (
        "2025-11-08T12:34:56.99999999999999999999+01:00",
        "2025-11-08T12:34:56.999999+01:00",
    ),
    "with a comma": ("2025-11-08T12:34:56,5", "2025-11-08T12:34:56.500000"),
    "with a fraction of zero": ("2025-11-08T12:34:56.000000Z", "2025-11-08T12:34:56+00:00"),
    "with a space": ("2025-11-08 12:34:56", "2025-11-08T12:34:56"),
    "a date alone": ("2025-11-08", "2025-11-08T00:00:00"),
    "an hour alone": ("2025-11-08T12", "2025-11-08T12:00:00"),
    "hour and minute": ("2025-11-08T12:34+02:00", "2025-11-08T12:34:00+02:00"),
    "compact": ("20251108T123456Z", "2025-11-08T12:34:56+00:00"),
    "compact with an offset": ("20251108T123456.5-0330", "2025-11-08T12:34:56.500000-03:30"),
    "a day of a week": ("2025-W45-6T12:34", "2025-11-08T12:34:00"),
}

BAD_TIMES = ["yesterday", "2025-02-29", "2025-11-08T24:00:00", "2025-11-08T12:34:56.", "12:34"]


def check_read_times() -> None:
    """Checks that Python reads these times too, in versions that read all of them."""
    if sys.version_info < (3, 11):
        return
    for text, wanted in READ_TIMES.values():
        # The C implementation accepts a lower-case z only in some versions.
        if datetime.fromisoformat(text.upper()).isoformat() != wanted:
            raise AssertionError(f"{text} is read as another time")


# ---- vectors of both formats ----


def common(encode: Callable[[Any], bytes]) -> Iterator[Vector]:
    """Yields the vectors that both formats have."""
    for name, value in ENVELOPES.items():
        yield vector(name, "2.6", encode(value))
    for name, rule, contents in CONTENTS:
        yield vector(name, rule, encode(call(contents, metadata={"also": contents[0]})))
    for name, time in timestamps():
        yield vector(f"time {name}", "5.1", encode(call("Hi", timestamp=time.isoformat())))
    for name, (text, wanted) in READ_TIMES.items():
        payload, written = call("Hi", timestamp=text), call("Hi", timestamp=wanted)
        yield vector(f"time {name}", "5.3", encode(payload), written=encode(written))
    for text in BAD_TIMES:
        payload = encode(call("Hi", timestamp=text))
        yield refused(f"time that is none: {text}", "5.3", payload, MALFORMED)
    for text in ["yesterday", "", "2025-11-08T12:34:56.5Z"]:
        payload = encode(envelope("stream_end", {}, timestamp=text))
        yield vector(f"envelope's time: {text or 'empty'}", "5.5", payload)
    for value in [None, 7, ["x"]]:
        given = envelope("stream_end", {}, timestamp=value)
        kept = {key: part for key, part in given.items() if key != "timestamp"}
        name = f"envelope's time is of another kind: {value}"
        yield vector(name, "5.5", encode(given), written=encode(kept))
    yield from liberal_envelopes(encode)
    yield from bad_envelopes(encode)
    yield vector("nested as deep as may be", "4.8", encode(call(nested(MAX_DEPTH))))
    too_deep = encode(call(nested(MAX_DEPTH + 1)))
    yield refused("nested too deeply", "4.8", too_deep, MALFORMED)


def liberal_envelopes(encode: Callable[[Any], bytes]) -> Iterator[Vector]:
    """Yields envelopes that no writer produces, but a reader accepts."""
    plain = call("Hi")

    def read_as(name: str, rule: str, given: dict[str, Any], wanted: dict[str, Any]) -> Vector:
        return vector(name, rule, encode(given), written=encode(wanted))

    reversed_all = {key: plain[key] for key in reversed(plain)}
    yield read_as("keys in another order", "2.8", reversed_all, plain)
    inner = plain["payload"]["message"]
    shuffled = {key: inner[key] for key in ["timestamp", "content", "role", "metadata"]}
    payload = {"message": shuffled, "agent_name": "weather", "method": "process"}
    yield read_as("payload in another order", "2.8", plain | {"payload": payload}, plain)
    extra = {"first": [1]} | plain | {"last": {"deep": [None]}}
    extra["payload"] = plain["payload"] | {"more": 1, "message": inner | {"mood": "good"}}
    yield read_as("keys that nobody knows", "2.8", extra, plain)
    without = {key: part for key, part in inner.items() if key != "metadata"}
    for name, odd in [("missing", without), ("null", inner | {"metadata": None})]:
        given = plain | {"payload": plain["payload"] | {"message": odd}}
        yield read_as(f"metadata is {name}", "3.3", given, plain)
    nameless = envelope("request", {"method": "process", "message": inner})
    for name in ["", None]:
        given = nameless | {"payload": {"method": "process", "agent_name": name, "message": inner}}
        yield read_as(f"agent_name is {name!r}", "2.7", given, nameless)
    bare = envelope("request", {"method": "execute", "tool_name": "add"})
    full = envelope("request", {"method": "execute", "tool_name": "add", "kwargs": {}})
    yield read_as("kwargs are missing", "2.7", bare, full)
    bare = envelope("error", {"error_code": "CANCELLED"})
    payload = {"error_code": "CANCELLED", "error_message": "", "error_details": {}}
    yield read_as("an error of its code alone", "2.7", bare, envelope("error", payload))
    bare = envelope("heartbeat", {})
    full = envelope("heartbeat", {"agent_name": "", "status": "healthy"})
    yield read_as("heartbeat of nothing", "2.7", bare, full)
    payload = {"agent_name": "", "capabilities": {}, "endpoint": "", "metadata": {}}
    given = envelope("register", {"agent_name": None, "capabilities": None})
    yield read_as("registration of nulls", "2.7", given, envelope("register", payload))
    given = envelope("response", {"result": {"success": True}})
    wanted = envelope("response", {"result": result(True, None, None, {})})
    yield read_as("a result of its success alone", "3.4", given, wanted)
    reply = {"message": inner, "result": result(True, 1, None, {})}
    wanted = envelope("response", {"message": inner})
    yield read_as("both a message and a result", "2.9", envelope("response", reply), wanted)


def bad_envelopes(encode: Callable[[Any], bytes]) -> Iterator[Vector]:
    """Yields values that are not envelopes, with the errors that refuse them."""
    plain = call("Hi")

    def without(key: str) -> dict[str, Any]:
        return {name: part for name, part in plain.items() if name != key}

    def with_message(**changes: Any) -> dict[str, Any]:
        return call("Hi", **changes)

    for key in ["version", "type", "payload"]:
        yield refused(f"{key} is missing", "2.9", encode(without(key)), INVALID)
    yield refused("id is missing", "2.9", encode(without("id")), INVALID, "unknown")
    yield refused("an id that is a number", "7.3", encode(plain | {"id": 7}), INVALID, "unknown")
    for name, given, code in [
        ("a version to come", plain | {"version": "2.0"}, "UNSUPPORTED_VERSION"),
        ("a version that is a number", plain | {"version": 1.0}, "UNSUPPORTED_VERSION"),
        ("a type that nobody knows", plain | {"type": "shout"}, INVALID),
        ("a type that is null", plain | {"type": None}, INVALID),
        ("a payload that is a list", plain | {"payload": []}, MALFORMED),
        ("a payload that is null", plain | {"payload": None}, MALFORMED),
        ("a role that is empty", with_message(role=""), MALFORMED),
        ("a role that is a number", with_message(role=1), MALFORMED),
        ("metadata that is a list", with_message(metadata=[]), MALFORMED),
        ("a time that is a number", with_message(timestamp=1762605296), MALFORMED),
        ("a request without a message", envelope("request", {"method": "process"}), MALFORMED),
        ("a tool without a name", envelope("request", {"method": "execute"}), MALFORMED),
        (
            "a result without an error text",
            envelope("response", {"result": result(False, None, None, {})}),
            MALFORMED,
        ),
        ("a version that is a number", envelope("register", {"version": 1}), MALFORMED),
        ("an instance that is a number", envelope("heartbeat", {"instance": 1}), MALFORMED),
        ("an error without a code", envelope("error", {"error_message": "x"}), MALFORMED),
    ]:
        yield refused(name, "7.3", encode(given), code)
    inner = {key: part for key, part in message("Hi").items() if key != "content"}
    given = envelope("request", {"method": "process", "message": inner})
    yield refused("a message without content", "3.2", encode(given), MALFORMED)


# ---- JSON ----


def json_vectors() -> Iterator[Vector]:
    """Yields the vectors in JSON."""

    def encode(value: Any) -> bytes:
        return json.dumps(value).encode("ascii")

    yield from common(encode)
    beyond = [2**64, -(2**63) - 1, 2**70, 2**200, -(2**200), uuid.UUID(ID).int, 10**4299]
    yield vector("integers of any size", "4.4", encode(call(beyond)))

    plain = encode(call("@")).decode()

    def with_content(text: str) -> bytes:
        return plain.replace('"@"', text).encode("utf-8", "surrogatepass")

    for name, text in [
        ("white space", ' \t\r\n[ 1 ,\n{ "a"\t:\r2 } , [ ] , { } ] '),
        ("no white space", '[1,{"a":2},[],{}]'),
        ("a repeated key", '{"a": 1, "b": 2, "a": 3}'),
        ("a repeated key among many", json.dumps({str(i): i for i in range(40)})[:-1] + ', "7": 0}'),
        ("numbers too large for a float", "[1e999, -1e999, 1e400]"),
        ("a number too small for a float", "[1e-999, -1e-999]"),
        ("minus zero as an integer", "[-0, 0]"),
        ("exponents of all forms", "[1E5, 1e+5, 1e-5, 1.5E-7, 0e0, 0.1e1, 10e-1]"),
        ("digits beyond a float's", "[0.1000000000000000055511151231257827, 9007199254740993.0]"),
        ("halfway between two floats", "[9007199254740992.5, 2.2250738585072011e-308]"),
        ("escapes that need not be", r'"\/ \u0041\u003c\u003E\u0026 \u00e9 \u00E9"'),
        ("a pair of surrogates in upper case", r'"\uD83E\uDD80"'),
        ("text as it is, in UTF-8", '"é \u2028 🦀 \x7f"'),
        ("keys as they are, in UTF-8", '{"é🦀": 1}'),
    ]:
        wanted = encode(call(json.loads(text)))
        yield vector(name, "4.7", with_content(text), written=wanted)
    written = encode(call("Hi"))
    padded = b" \n" + written.replace(b", ", b" ,\t").replace(b": ", b" :\r\n") + b"\n "
    yield vector("white space in the envelope", "4.7", padded, written=written)
    repeated = written.replace(b'"type"', b'"type": "shout", "payload": [], "type"')
    yield vector("repeated keys in the envelope", "2.8", repeated, written=written)
    go = (
        '{"version":"1.0","type":"request","id":"%s","timestamp":"2025-11-08T12:34:56.123456789Z",'
        '"payload":{"agent_name":"weather","message":{"content":"a\\u003cb \\u0026 é","metadata":{},'
        '"role":"user","timestamp":"2025-11-08T12:34:56.123456789+01:00"},"method":"process"}}'
    ) % ID
    time = "2025-11-08T12:34:56.123456+01:00"
    read = call("a<b & é", timestamp=time) | {"timestamp": "2025-11-08T12:34:56.123456789Z"}
    yield vector("a request as Go writes it", "11", go.encode(), written=encode(read))

    for name, text in [
        ("a control character", '"a\x01b"'),
        ("a line break in text", '"a\nb"'),
        ("an escape that nobody knows", r'"\x41"'),
        ("an escape without its digits", r'"\u12"'),
        ("an escape with a sign", r'"\u+123"'),
        ("text without an end", '"abc'),
        ("a comma at the end of a list", "[1,]"),
        ("a comma at the end of a map", '{"a": 1,}'),
        ("a list without commas", "[1 2]"),
        ("a key without quotes", "{a: 1}"),
        ("single quotes", "'a'"),
        ("a number with a zero in front", "01"),
        ("a number with a plus", "+1"),
        ("a number that begins with a point", ".5"),
        ("a number that ends with a point", "1."),
        ("an exponent without digits", "1e"),
        ("a hexadecimal number", "0x10"),
        ("digits of another script", "٣"),
        ("minus NaN", "-NaN"),
        ("nan in lower case", "nan"),
        ("a word in upper case", "TRUE"),
        ("a comment", "1 /* one */"),
        ("another kind of space", "\xa01"),
    ]:
        payload = with_content(text)
        must_be_refused_by(json.loads, payload)
        yield refused(name, "4.8", payload, MALFORMED)
    for name, text in [
        ("a high surrogate alone", r'"\ud800"'),
        ("a low surrogate alone", r'"\udc00"'),
        ("surrogates the wrong way round", r'"\udc00\ud800"'),
        ("a high surrogate before text", r'"\ud83ex"'),
        ("a lone surrogate in a key", r'{"\udfff": 1}'),
    ]:
        yield refused(name, "4.8", with_content(text), MALFORMED)
    for name, payload in [
        ("half an envelope", written[:100]),
        ("garbage behind the envelope", written + b"x"),
        ("two envelopes", written + written),
        ("a NUL behind the envelope", written + b"\0"),
    ]:
        yield refused(name, "4.8", payload, MALFORMED)
    for name, payload in [
        ("nothing", b""),
        ("white space alone", b" \n"),
        ("a byte-order mark", b"\xef\xbb\xbf" + written),
        ("text that is not UTF-8", written.replace(b"Hi", b"\xff")),
        ("text in overlong UTF-8", written.replace(b"Hi", b"\xc0\xaf")),
        ("a surrogate in UTF-8", with_content('"\ud800"')),
        ("UTF-16", written.decode().encode("utf-16")),
        ("brackets without end", b"[" * 100_000),
        ("braces without end", b'{"a":' * 100_000),
    ]:
        yield refused(name, "4.8", payload, MALFORMED, "unknown")
    for name, payload in [("a list", b"[]"), ("a number", b"7"), ("null", b"null")]:
        yield refused(f"{name} in place of an envelope", "7.3", payload, INVALID, "unknown")


# ---- MessagePack ----


def msgpack_vectors() -> Iterator[Vector]:
    """Yields the vectors in MessagePack."""

    def encode(value: Any) -> bytes:
        return bytes(msgpack.packb(value))

    yield from common(encode)
    sizes = (0, 1, 255, 256, 65535, 65536)
    contents = [bytes(size) for size in sizes] + [bytes(range(256))]
    yield vector("bytes", "10.1", encode(call(contents, metadata={"raw": b"\xff"})))

    plain = encode(call("@"))

    def with_content(content: bytes) -> bytes:
        return plain.replace(b"\xa1@", content)

    for name, content in [
        ("integers in forms that are too large", b"\x9a\xcc\x05\xcd\0\x05\xce\0\0\0\x05\xcf\0\0\0\0\0\0\0\x05"
            b"\xd0\x05\xd1\0\x05\xd2\0\0\0\x05\xd3\0\0\0\0\0\0\0\x05\xd0\xff\xd3\xff\xff\xff\xff\xff\xff\xff\xff"),
        ("floats of 32 bits", b"\x93\xca" + struct.pack(">f", 0.5) + b"\xca" + struct.pack(">f", 0.1)
            + b"\xca\x7f\x80\0\0"),
        ("text in forms that are too large", b"\x93\xd9\x01a\xda\0\x01b\xdb\0\0\0\x01c"),
        ("bytes in forms that are too large", b"\x92\xc5\0\x01a\xc6\0\0\0\x01b"),
        ("lists in forms that are too large", b"\x92\xdc\0\x01\xc0\xdd\0\0\0\x01\xc0"),
        ("maps in forms that are too large", b"\x92\xde\0\x01\xa1a\xc0\xdf\0\0\0\x01\xa1b\xc0"),
        ("a repeated key", b"\x83\xa1a\x01\xa1b\x02\xa1a\x03"),
    ]:
        wanted = encode(call(msgpack.unpackb(content)))
        yield vector(name, "10.4", with_content(content), written=wanted)

    for name, content in [
        ("an extension of one byte", b"\xd4\x05\x00"),
        ("an extension of sixteen bytes", b"\xd8\x05" + bytes(16)),
        ("an extension with a length", b"\xc7\x03\x05abc"),
        ("a timestamp", b"\xd6\xff\0\0\0\0"),
        ("the byte that is never used", b"\xc1"),
        ("a key that is an integer", b"\x81\x01\x02"),
        ("a key that is null", b"\x81\xc0\x02"),
        ("a key that is bytes", b"\x81\xc4\x01a\x02"),
        ("text that is not UTF-8", b"\xa1\xff"),
        ("a surrogate in UTF-8", b"\xa3\xed\xa0\x80"),
        ("a list longer than the payload", b"\xdd\xff\xff\xff\xff"),
        ("a map longer than the payload", b"\xdf\xff\xff\xff\xff"),
        ("text longer than the payload", b"\xdb\xff\xff\xff\xff"),
        ("bytes longer than the payload", b"\xc6\xff\xff\xff\xff"),
    ]:
        yield refused(name, "10.4", with_content(content), MALFORMED)
    written = encode(call("Hi"))
    for name, payload in [
        ("half an envelope", written[:100]),
        ("a byte behind the envelope", written + b"\xc0"),
        ("two envelopes", written + written),
    ]:
        yield refused(name, "10.4", payload, MALFORMED)
    endless = b"\x81\xa1a" * 100_000
    yield refused("maps without end", "10.4", endless, MALFORMED, "unknown")


# ---- the form of a vector ----


def vector(name: str, rule: str, payload: bytes, written: bytes | None = None) -> Vector:
    """Returns a vector with a payload that a reader accepts."""
    entry: Vector = {"name": name, "rule": rule, "payload": pieces(payload)}
    if written is not None and written != payload:
        entry["written"] = pieces(written)
    return entry


def refused(name: str, rule: str, payload: bytes, code: str, its_id: str = ID) -> Vector:
    """Returns a vector with a payload that a reader refuses; by default the error has the id."""
    entry: Vector = {"name": name, "rule": rule, "payload": pieces(payload)}
    return entry | {"refused": code, "id": its_id}


def must_be_refused_by(reader: Callable[[bytes], Any], payload: bytes) -> None:
    """Checks that Python also refuses a payload."""
    try:
        reader(payload)
    except ValueError:
        return
    raise AssertionError(f"Python reads {payload!r}")


LONG_RUN = re.compile(rb"(.{1,6}?)\1{99,}", re.DOTALL)
READABLE = re.compile(rb"([ -~]{4,})")


def pieces(payload: bytes) -> list[Any]:
    """Returns a payload in pieces, with long runs abbreviated."""
    parts: list[Any] = []
    position = 0
    for run in LONG_RUN.finditer(payload):
        parts.extend(plain_pieces(payload[position : run.start()]))
        unit = run[1].decode("ascii") if run[1].isascii() else {"hex": run[1].hex()}
        parts.append({"repeat": unit, "times": len(run[0]) // len(run[1])})
        position = run.end()
    return parts + plain_pieces(payload[position:])


def plain_pieces(part: bytes) -> list[Any]:
    """Returns readable bytes as text, and other bytes in hexadecimal."""
    parts = [(piece, index % 2 == 1) for index, piece in enumerate(READABLE.split(part)) if piece]
    return [piece.decode("ascii") if text else {"hex": piece.hex()} for piece, text in parts]


def main() -> int:
    """Runs the command line and returns the exit status."""
    formats = {"json": json_vectors, "msgpack": msgpack_vectors}
    if len(sys.argv) != 2 or sys.argv[1] not in formats:
        print("usage: vectors.py json|msgpack", file=sys.stderr)
        return 2
    check_read_times()
    lines = [json.dumps(entry) for entry in formats[sys.argv[1]]()]
    print("[\n" + ",\n".join(lines) + "\n]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
