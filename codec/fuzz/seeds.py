#!/usr/bin/env python3
"""Creates a seed corpus for each fuzz target from the golden vectors: seeds.py

Writes to codec/fuzz/seeds/TARGET, one file for each payload. scripts/fuzz runs it.
"""

import json
import struct
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parent / "tests" / "vectors"
MAX_LEN = 4096  # Long seeds slow a fuzzer down more than they teach it.


REGISTRY = [
    """{"name": "weather", "endpoint": "tcp://10.0.0.7:80", "instance": "a", "version": "1.2.3-rc.1",
    "capabilities": {"languages": ["en", {"name": "ja"}], "tools": []}, "metadata": {"zone": "b"},
    "registered_at": "2025-11-08T12:34:56+00:00", "last_heartbeat": "2025-11-08T12:34:56.5+00:00"}""",
    """{"name": "weather", "endpoint": "unix:///run/weather.sock", "capabilities": null}""",
    """{"name": "weather", "capabilities": ["languages.ja", ["tools", "gpt-4.1"]],
    "version": "^1.2, <3", "metadata": {"zone": "b"}}""",
]


def field(number: int, *contents: bytes) -> bytes:
    """A protobuf field of fewer than 128 bytes."""
    content = b"".join(contents)
    return bytes([number << 3 | 2, len(content)]) + content


MESSAGE = (field(1, b"user"), field(2, b"[42, {}]"), field(3, field(1, b"k"), field(2, b"True")))
PROTO = [
    b"".join((field(1, b"1.0"), field(2, b"7"), field(4, b"process"), field(6, *MESSAGE))),
    b"".join((field(4, b"execute"), field(8, field(1, b"add"), field(2, b'{"a": 1}')))),
    b"".join((b"\x20\x01", field(5, *MESSAGE, field(4, b"2026-11-29T06:00:00.123456789Z")))),
    b"".join((b"\x20\x02", field(6, b"\x08\x01", field(2, b'{"x": null}')))),
    b"".join((b"\x20\x03", field(7, field(1, b"AGENT_ERROR"), field(2, b"boom")))),
]


def masked(first: int, payload: bytes) -> bytes:
    """A frame of a WebSocket client, whose first byte has the opcode and the mark of the last frame."""
    mask = b"\x11\x22\x33\x44"
    if len(payload) < 126:
        head = struct.pack(">BB", first, 0x80 | len(payload))
    else:
        head = struct.pack(">BBH", first, 0x80 | 126, len(payload))
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


WEBSOCKET = [
    masked(0x81, "{\"é\": 1}".encode("utf-8")) + masked(0x88, b"\x03\xe8bye"),
    masked(0x82, bytes(200)) + masked(0x8A, b"") + masked(0x82, b""),
    masked(0x01, b"ab\xc3") + masked(0x89, b"ping") + masked(0x00, b"") + masked(0x80, b"\xa9cd"),
    masked(0x02, bytes(10)) + masked(0x82, b"unexpected"),
    b"\x82\x01x",
]


EVENTS = [
    b'data: {"type": "stream_chunk"}\n\ndata: {"type": "stream_end"}\n\n',
    b"\xef\xbb\xbf: comment\r\nevent: e\r\nid: 1\r\ndata:a\r\ndata\r\ndata:  b\r\n\r\n",
    b"data: a\rdata: b\r\rretry: 5\n\ndata: no end\n",
    b"data\n\n\n\n data: a\n\ndata : b\n\n\r\n",
]


def expand(piece: Any) -> bytes:
    """The bytes of one piece of a payload."""
    if isinstance(piece, str):
        return piece.encode("ascii")
    if "hex" in piece:
        return bytes.fromhex(piece["hex"])
    return expand(piece["repeat"]) * int(piece["times"])


def payloads(name: str) -> list[bytes]:
    """The payloads of one format."""
    vectors = json.loads((VECTORS / f"{name}.json").read_text("ascii"))
    joined = (b"".join(map(expand, vector["payload"])) for vector in vectors)
    return [payload for payload in joined if len(payload) <= MAX_LEN]


def main() -> None:
    """Writes all seeds."""
    in_json, in_msgpack = payloads("json"), payloads("msgpack")
    frames = [struct.pack(">I", len(payload)) + payload for payload in in_json + in_msgpack]
    seeds = {
        "frame": frames + [b"".join(frames[i : i + 3]) for i in range(0, len(frames), 3)],
        "json_envelope": in_json,
        "msgpack_envelope": in_msgpack,
        "json_against_msgpack": in_json + in_msgpack,
        "registry_payload": [text.encode("ascii") for text in REGISTRY],
        "proto_message": PROTO,
        "websocket": WEBSOCKET,
        "server_sent_events": EVENTS,
    }
    for target, contents in seeds.items():
        folder = HERE / "seeds" / target
        folder.mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(contents):
            (folder / f"vector-{number:03}").write_bytes(content)


if __name__ == "__main__":
    main()
