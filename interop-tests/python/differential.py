#!/usr/bin/env python3
"""The Python half of the differential test: differential.py write SEED COUNT | differential.py read

`write` prints COUNT random envelopes as records. A SEED always gives the same envelopes. `read`
reads records from standard input. It checks that Python rewrites each payload as the same bytes,
and that both payloads of a record are equal. It prints `ok COUNT` and exits with 0, or prints the
first payload that fails and exits with 1.

A record is one envelope: its payload in JSON, then in MessagePack, each behind its length as in a
frame. A length of 0 marks a format that cannot hold the envelope.
"""

import json
import random
import struct
import sys
from datetime import datetime, timedelta, timezone
from typing import Any, BinaryIO

import msgpack

HEADER = struct.Struct(">I")
MAX_DEPTH = 252  # With the envelope, its payload and its message: 255 levels.

Payloads = tuple[bytes, bytes]


# ---- random envelopes ----


class Generator:
    """A generator of random envelopes that stress a codec."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._big_integers = False
        self._bytes = False

    def payloads(self) -> Payloads:
        """Returns one envelope in each format that can hold it."""
        lot = self._random.random()
        self._big_integers, self._bytes = lot < 0.2, lot > 0.9
        envelope = self._envelope()
        text = b"" if self._bytes else json.dumps(envelope).encode("ascii")
        packed = b"" if self._big_integers else msgpack.packb(envelope)
        return text, packed

    def _envelope(self) -> dict[str, Any]:
        kind, payload = self._random.choice(
            [
                self._call,
                self._call,
                self._execute,
                self._other_request,
                self._response,
                self._response,
                self._tool_response,
                self._other_response,
                self._chunk,
                self._error,
                self._register,
                self._small,
            ]
        )()
        envelope = {"version": "1.0", "type": kind, "id": self._id()}
        if self._random.random() < 0.95:
            envelope["timestamp"] = self._time() if self._often() else self._text()
        envelope["payload"] = payload
        return envelope

    def _call(self) -> tuple[str, dict[str, Any]]:
        payload: dict[str, Any] = {"method": self._random.choice(["process", "stream"])}
        if name := self._text():
            payload["agent_name"] = name
        payload["message"] = self._message()
        return "request", payload

    def _execute(self) -> tuple[str, dict[str, Any]]:
        name = self._text() or "tool"
        return "request", {"method": "execute", "tool_name": name, "kwargs": self._map(1)}

    def _other_request(self) -> tuple[str, dict[str, Any]]:
        payload = self._map(1)
        payload["method"] = self._random.choice(["dance", 7, None, self._map(2)])
        return "request", payload

    def _response(self) -> tuple[str, dict[str, Any]]:
        return "response", {"message": self._message()}

    def _tool_response(self) -> tuple[str, dict[str, Any]]:
        success = self._often()
        error = (self._text() if self._often() else None) if success else self._text() or "failed"
        result = {"success": success, "data": self._value(3), "error": error}
        return "response", {"result": result | {"metadata": self._map(3)}}

    def _other_response(self) -> tuple[str, dict[str, Any]]:
        payload = self._map(1)
        return "response", {key: payload[key] for key in payload if key not in ("message", "result")}

    def _chunk(self) -> tuple[str, dict[str, Any]]:
        return "stream_chunk", {"message": self._message()}

    def _error(self) -> tuple[str, dict[str, Any]]:
        code = self._random.choice(["INTERNAL_ERROR", "AGENT_ERROR", self._text()])
        payload = {"error_code": code, "error_message": self._text()}
        return "error", payload | {"error_details": self._map(2)}

    def _register(self) -> tuple[str, dict[str, Any]]:
        payload = {"agent_name": self._text(), "capabilities": self._map(2)}
        payload |= {"endpoint": self._text(), "metadata": self._map(2)}
        return "register", payload | self._sometimes("version", "instance")

    def _sometimes(self, *keys: str) -> dict[str, str]:
        """Returns some of these keys, in this order."""
        return {key: self._text() for key in keys if not self._often()}

    def _small(self) -> tuple[str, dict[str, Any]]:
        named, where = {"agent_name": self._text()}, self._sometimes("endpoint", "instance")
        return self._random.choice(
            [
                ("heartbeat", named | {"status": self._text()} | where),
                ("unregister", named | where),
                ("unregister", where),
                ("stream_end", {}),
            ]
        )

    def _message(self) -> dict[str, Any]:
        role = self._random.choice(["user", "agent", "tool", self._text() or "nobody"])
        message = {"role": role, "content": self._value(3), "metadata": self._map(3)}
        return message | {"timestamp": self._time()}

    # ---- parts ----

    def _often(self) -> bool:
        return self._random.random() < 0.8

    def _id(self) -> str:
        if not self._often():
            return self._text()
        digits = f"{self._random.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def _time(self) -> str:
        rand = self._random
        micros = rand.choice([0, 1, 999999, rand.randrange(1000000), rand.randrange(1000000)])
        second = rand.randrange(315537897600)  # The years 1 to 9999.
        time = datetime(1, 1, 1) + timedelta(seconds=second, microseconds=micros)
        day = 24 * 60 * 60
        offset = rand.choice(
            [
                None,
                timedelta(0),
                timedelta(0),
                timedelta(minutes=rand.randrange(-1439, 1440)),
                timedelta(seconds=rand.randrange(1 - day, day)),
                timedelta(microseconds=rand.randrange((1 - day) * 10**6, day * 10**6)),
            ]
        )
        return time.replace(tzinfo=None if offset is None else timezone(offset)).isoformat()

    def _value(self, depth: int) -> Any:
        rand = self._random
        lot = rand.random()
        if lot < 0.25:
            return self._text()
        if lot < 0.45:
            return self._integer()
        if lot < 0.6:
            return self._float()
        if lot < 0.7:
            return rand.choice([None, True, False])
        if lot < 0.75 and self._bytes:
            return rand.randbytes(self._length())
        if lot < 0.752:
            return self._deep(depth)
        if depth > 7:
            return None
        if lot < 0.87:
            return self._list(depth)
        return self._map(depth)

    def _list(self, depth: int) -> list[Any]:
        if self._random.random() < 0.002:
            return [self._integer() for _ in range(self._random.randrange(1000))]
        return [self._value(depth + 1) for _ in range(self._random.randrange(5))]

    def _map(self, depth: int) -> dict[str, Any]:
        if self._random.random() < 0.002:
            return {self._text(): self._float() for _ in range(self._random.randrange(100))}
        return {self._text(): self._value(depth + 1) for _ in range(self._random.randrange(5))}

    def _deep(self, depth: int) -> Any:
        value: Any = self._float()
        for _ in range(self._random.randrange(MAX_DEPTH - depth)):
            value = [value] if self._random.random() < 0.5 else {self._text(): value}
        return value

    def _integer(self) -> int:
        rand = self._random
        largest = 200 if self._big_integers else 63
        bits = rand.choice([3, 8, 16, 32, 64, rand.randrange(1, largest + 1)])
        number = rand.choice([rand.getrandbits(bits), 1 << bits, (1 << bits) - 1])
        number = -number if rand.random() < 0.5 else number
        if self._big_integers:
            return number
        return max(-(2**63), min(number, 2**64 - 1))

    def _float(self) -> float:
        rand = self._random
        lot = rand.random()
        if lot < 0.5:
            [number] = struct.unpack("<d", rand.randbytes(8))
            return float(number)
        if lot < 0.7:
            return round(rand.uniform(-1000, 1000), rand.randrange(6))
        if lot < 0.9:
            return rand.choice([1.0, -1.0]) * 10.0 ** rand.randrange(-320, 309)
        return rand.choice([0.0, -0.0, float("nan"), float("inf"), float("-inf"), 1e16, 1e-5])

    def _length(self) -> int:
        rand = self._random
        lot = rand.random()
        if lot < 0.95:
            return rand.randrange(12)
        if lot < 0.9998:
            return rand.randrange(300)
        return rand.randrange(70_000)

    def _text(self) -> str:
        rand = self._random
        length = self._length()
        lot = rand.random()
        if lot < 0.5:
            return "".join(rand.choices("abc xyz-_09", k=length))
        if lot < 0.6:
            return "".join(rand.choices('"\\/\b\f\n\r\t\0\x1f\x7f <>&é', k=length))
        return "".join([self._character() for _ in range(length)])

    def _character(self) -> str:
        top = self._random.choice([0x80, 0x800, 0xD800, 0x110000])
        code = self._random.randrange(top)
        # Only Python allows lone surrogates in text.
        return chr(code if not 0xD800 <= code < 0xE000 else 0xFFFD)


# ---- records ----


def write(seed: int, count: int, output: BinaryIO) -> None:
    """Writes random envelopes."""
    generator = Generator(seed)
    for _ in range(count):
        for payload in generator.payloads():
            output.write(HEADER.pack(len(payload)) + payload)
    output.flush()


def read_payload(source: BinaryIO) -> bytes | None:
    """Reads the next payload, or returns None at the end."""
    header = source.read(HEADER.size)
    if not header:
        return None
    [length] = HEADER.unpack(header)
    payload = source.read(length)
    if len(payload) != length:
        raise EOFError("the input ends inside a record")
    return payload


def read(source: BinaryIO) -> int:
    """Checks the records that Rust wrote; returns their number."""
    count = 0
    while (text := read_payload(source)) is not None:
        packed = read_payload(source)
        if packed is None:
            raise EOFError("the input ends inside a record")
        check(text, packed)
        count += 1
    return count


def check(text: bytes, packed: bytes) -> None:
    """Checks one record; raises ValueError if it is wrong."""
    if text and json.dumps(from_json := json.loads(text)).encode("ascii") != text:
        raise ValueError(f"Python rewrites JSON as {json.dumps(from_json)!r}: {text!r}")
    if packed and msgpack.packb(unpacked := msgpack.unpackb(packed)) != packed:
        raise ValueError(f"Python rewrites MessagePack as {msgpack.packb(unpacked)!r}: {packed!r}")
    # Compared as text, because 1 equals 1.0, and NaN does not equal itself.
    if text and packed and json.dumps(from_json) != json.dumps(unpacked):
        raise ValueError(f"JSON and MessagePack differ: {text!r}, {packed!r}")
    if not text and not packed:
        raise ValueError("a record without a payload")


def main() -> int:
    """Runs the command line and returns the exit status."""
    match sys.argv[1:]:
        case ["write", seed, count]:
            write(int(seed), int(count), sys.stdout.buffer)
        case ["read"]:
            try:
                print(f"ok {read(sys.stdin.buffer)}")
            except (ValueError, EOFError) as error:
                print(str(error)[:10_000])
                return 1
        case _:
            print((__doc__ or "").partition("\n")[0], file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
