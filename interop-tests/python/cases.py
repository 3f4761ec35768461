"""The named cases. Rust has cases with the same names.

Each case is a client of a server that runs the interop agent (see serve.py). It returns if it
passes, and raises otherwise.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from agentwire_peer import Codec, JsonCodec, Message, RemoteError
from agentwire_peer.wire import envelope
from backends import Backend, Client
from raw import RawConnection, raw_connection
from stdio import say, stdin_line

MIB = 1024 * 1024
KEY_LENGTH = 50  # The longest metadata key that agenkit accepts.


class CaseFailed(Exception):
    """An answer differs from the expected one."""


@dataclass(frozen=True)
class Target:
    """The server under test, and the implementation that calls it."""

    backend: Backend
    endpoint: str
    codec: Codec

    @asynccontextmanager
    async def client(self, agent_name: str = "interop") -> AsyncIterator[Client]:
        """Yields a client, and closes it at the end."""
        client = await self.backend.connect(self.endpoint, agent_name, self.codec)
        try:
            yield client
        finally:
            await client.close()


Run = Callable[[Target], Awaitable[None]]


@dataclass(frozen=True)
class Case:
    """A case and its requirements."""

    run: Run
    strict: bool
    """True if only agentwire's servers are expected to pass."""
    needs_help: bool
    """True if the caller must prepare or do something for the case."""


CASES: dict[str, Case] = {}


def case(*, strict: bool = False, needs_help: bool = False) -> Callable[[Run], Run]:
    """Registers a function as a case, under its own name."""

    def register(run: Run) -> Run:
        CASES[run.__name__] = Case(run, strict, needs_help)
        return run

    return register


# ---- calls ----


@case()
async def simple_call(target: Target) -> None:
    """One call, one reply."""
    async with target.client() as client:
        await echo(client, "hello")


@case()
async def unicode(target: Target) -> None:
    """Text of every kind, in content and in metadata, as keys and as values."""
    texts = [
        # Every plane, and the last code points of two of them.
        "".join(chr(plane << 16 | 0xE9) for plane in range(17)) + "\uffff\U0010ffff",
        # Joined and modified emoji.
        "😀 👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇺🇳",
        # Right-to-left text, with direction marks.
        "\u05e9\u05dc\u05d5\u05dd \u202e\u0645\u0631\u062d\u0628\u0627\u202c",
        # Decomposed and composed characters.
        "e\u0301 \u00e9 \u1100\u1161\u11a8 \uac01",
        # Control characters, including U+007F.
        "".join(map(chr, [*range(0x20), *range(0x7F, 0xA0)])),
        # Separators, and a byte-order mark in the middle of text.
        "\u2028\u2029\u00a0\u200b\ufeff",
        # Characters that JSON escapes, characters that Go escapes, and text like an escape.
        '"\\/\b\f\n\r\t <>& \\u0041 \\n',
    ]
    async with target.client() as client:
        for text in texts:
            await echo(client, text, {text[:KEY_LENGTH]: text})


@case()
async def structured_content(target: Target) -> None:
    """Values of every kind: digits and the order of keys are preserved."""
    contents = [
        {"z": [[], {}, [[[1]]]], "a": {"y": {"x": {}}, "b": [{"q": 1, "c": 2}]}, "": None},
        [0, -1, 31, -33, 2**8, 2**16, 2**32, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1],
        [0.0, -0.0, 1.0, 0.1, 0.0001, 1e-05, 1e15, 1e16, 1.5e300, 5e-324, 1.7976931348623157e308],
        [float("inf"), float("-inf"), float("nan")],
        [True, False, None, 0, 1, 0.0, 1.0, "", "0"],
        True,
        7,
        -2.5,
    ]
    # Values that only one of the formats has.
    if isinstance(target.codec, JsonCodec):
        contents.append([2**64, 2**200, -(2**200)])
    else:
        contents.append([b"", b"bytes", bytes(range(256)), {"raw": b"\xff" * 70_000}])
    async with target.client() as client:
        for content in contents:
            await echo(client, content)


@case()
async def null_content(target: Target) -> None:
    """Content that is present and null."""
    async with target.client() as client:
        await echo(client, None)


@case()
async def metadata(target: Target) -> None:
    """Nested metadata keeps the order of its keys."""
    async with target.client() as client:
        await echo(
            client, "with metadata", {"do": "echo", "z": {"b": [1, {"y": None}], "a": {}}, "m": []}
        )
        await echo(client, "without metadata", {})


@case()
async def empty_message(target: Target) -> None:
    """Content that is an empty string."""
    async with target.client() as client:
        await echo(client, "")


@case()
async def one_mib_message(target: Target) -> None:
    """1 MiB of ASCII text, then 1 MiB of text that triples when it is escaped."""
    async with target.client() as client:
        await echo(client, "0123456789abcdef" * (MIB // 16))
        await echo(client, "é😀ö" * (MIB // len("é😀ö".encode())))


# ---- streams ----


@case()
async def stream_zero(target: Target) -> None:
    """A stream without chunks."""
    async with target.client() as client:
        await expect_stream(client, "nothing", 0)
        await echo(client, "after the stream")


@case()
async def stream_one(target: Target) -> None:
    """Streams of one chunk: of text, and of another value."""
    async with target.client() as client:
        await expect_stream(client, "text", 1)
        await expect_stream(client, ["not", {"a": "text"}], 1)


@case()
async def stream_many(target: Target) -> None:
    """A thousand chunks, in order."""
    async with target.client() as client:
        await expect_stream(client, "chunk", 1000)
        await echo(client, "after the stream")


# ---- errors ----


@case()
async def agent_error(target: Target) -> None:
    """An agent's failure arrives with its text unchanged, and the connection stays usable."""
    async with target.client() as client:
        for content in ("it broke", 'é 😀 \n "quoted"', ""):
            error = await remote_error(client.process(Message("user", content, {"do": "fail"})))
            expect_error(target, error, f"deliberate failure: {content}")
        await echo(client, "after the error")


@case()
async def error_mid_stream(target: Target) -> None:
    """A stream that fails yields the chunks before the failure, then its text."""
    async with target.client() as client:
        for fail_after in (0, 2, 5):
            chunks: list[Message] = []
            message = Message("user", "part", {"count": 5, "fail_after": fail_after})
            error = await remote_error(collect(client, message, chunks))
            expect_chunks(chunks, "part", fail_after)
            expect_error(target, error, f"deliberate failure after {fail_after}")
        await echo(client, "after the error")


@case(needs_help=True)
async def no_streaming(target: Target) -> None:
    """A stream from the agent `mute`, which cannot stream. Needs a server with that agent."""
    async with target.client("mute") as client:
        error = await remote_error(collect(client, Message("user", "sing"), []))
        expect_error(target, error, "mute does not support streaming")
        await echo(client, "after the error")


# ---- raw frames ----


@case()
async def unknown_method(target: Target) -> None:
    """A request with a method that does not exist."""
    request = envelope("request", "raw-1", {"method": "dance", "agent_name": "interop"})
    async with raw_connection(target.endpoint) as raw:
        answer = await raw.ask(target.codec.encode(request))
        expect_raw_error(
            answer, "raw-1", "INVALID_MESSAGE", "Unknown method: dance", {"method": "dance"}
        )
        await raw_echo(target, raw)


@case()
async def wrong_type(target: Target) -> None:
    """An envelope that is not a request."""
    heartbeat = envelope("heartbeat", "raw-2", {"agent_name": "interop", "status": "healthy"})
    async with raw_connection(target.endpoint) as raw:
        answer = await raw.ask(target.codec.encode(heartbeat))
        text = "Expected 'request' but got 'heartbeat'"
        expect_raw_error(answer, "raw-2", "INVALID_MESSAGE", text, {"request": heartbeat})
        await raw_echo(target, raw)


@case(strict=True)
async def bad_json_keeps_connection(target: Target) -> None:
    """A payload that is not JSON gets its own error code, and the connection stays usable."""
    async with raw_connection(target.endpoint) as raw:
        for payload in (b'{"version": ', b"\xff", b""):
            answer = await raw.ask(payload)
            expect_raw_error(answer, "unknown", "MALFORMED_PAYLOAD", None, {})
        await raw_echo(target, raw)


# ---- many calls ----


@case()
async def sequential_calls(target: Target) -> None:
    """500 calls on one connection."""
    async with target.client() as client:
        for number in range(500):
            await echo(client, f"call {number}")


@case()
async def concurrent_clients(target: Target) -> None:
    """32 clients with 20 calls each. Each call gets its own reply."""

    async def calls(caller: int) -> None:
        async with target.client() as client:
            for number in range(20):
                await echo(client, f"client {caller}, call {number}", {"client": str(caller)})

    callers = [calls(caller) for caller in range(32)]
    for result in await asyncio.gather(*callers, return_exceptions=True):
        if result is not None:
            raise result


@case(needs_help=True)
async def server_restart(target: Target) -> None:
    """A call, RESTART on standard output, a line on standard input, and another call."""
    async with target.client() as client:
        await echo(client, "before the restart")
        say("RESTART")
        if not await stdin_line():
            raise CaseFailed(
                "standard input ended before the server was restarted"
            )
        if target.backend.CLIENT_RECONNECTS:
            await echo(client, "after the restart")
            return
    async with target.client() as client:
        await echo(client, "after the restart")


# ---- helpers ----


async def echo(client: Client, content: Any, metadata: dict[str, Any] | None = None) -> None:
    """Makes a call, and expects its content and metadata in the reply."""
    metadata = metadata or {}
    reply = await client.process(Message("user", content, metadata))
    expect("the role", reply.role, "agent")
    expect("the content", reply.content, content)
    expect("the metadata", reply.metadata, metadata)


async def collect(client: Client, message: Message, chunks: list[Message]) -> None:
    """Streams into a list, which keeps the chunks before a failure."""
    async for chunk in client.stream(message):
        chunks.append(chunk)


async def expect_stream(client: Client, content: Any, count: int) -> None:
    """Streams chunks, and checks their number and content."""
    chunks: list[Message] = []
    await collect(client, Message("user", content, {"count": count}), chunks)
    expect_chunks(chunks, content, count)


def expect_chunks(chunks: list[Message], content: Any, count: int) -> None:
    """Checks the chunks that the interop agent sent."""
    expect("the number of chunks", len(chunks), count)
    for i, chunk in enumerate(chunks):
        expect(f"the role of chunk {i}", chunk.role, "agent")
        wanted = f"{content} #{i}" if isinstance(content, str) else content
        expect(f"the content of chunk {i}", chunk.content, wanted)
        # gRPC carries metadata as text.
        texts = {key: str(value) for key, value in chunk.metadata.items()}
        expect(f"the metadata of chunk {i}", texts, {"i": str(i)})


async def remote_error(call: Awaitable[Any]) -> RemoteError:
    """Returns the error of a call that must fail."""
    try:
        await call
    except RemoteError as error:
        return error
    raise CaseFailed("expected an error, got none")


def expect_error(target: Target, error: RemoteError, text: str) -> None:
    """Checks the error that answers an agent's failure."""
    expect("the error's text", error.message, text)
    expect("the error's details", error.details, {})
    if target.backend.REPORTS_CODES:
        expect("the error's code", error.code, "INTERNAL_ERROR")


def expect_raw_error(
    answer: dict[str, Any], request_id: str, code: str, text: str | None, details: dict[str, Any]
) -> None:
    """Checks an error envelope. If `text` is None, its text may be anything."""
    head = {key: answer[key] for key in ("version", "type", "id")}
    expect("the envelope", head, {"version": "1.0", "type": "error", "id": request_id})
    payload = {"error_code": code, "error_message": text, "error_details": details}
    if text is None:
        payload["error_message"] = answer["payload"].get("error_message")
    expect("the payload", answer["payload"], payload)


async def raw_echo(target: Target, raw: RawConnection) -> None:
    """Makes a valid call on a raw connection."""
    message = Message("user", "still here").to_wire()
    request = envelope("request", "raw-echo", {"method": "process", "message": message})
    answer = await raw.ask(target.codec.encode(request))
    expect("the answer's type and id", [answer["type"], answer["id"]], ["response", "raw-echo"])
    reply = answer["payload"]["message"]
    expect("the keys of the reply", list(reply), ["role", "content", "metadata", "timestamp"])
    expect("the content", reply["content"], "still here")


def expect(what: str, actual: Any, wanted: Any) -> None:
    """Compares the `repr` of two values.

    Unlike `==`, this distinguishes 1 from 1.0 and True, 0.0 from -0.0, and different orders of
    keys, and finds NaN equal to itself.
    """
    actual_text, wanted_text = repr(actual), repr(wanted)
    if actual_text != wanted_text:
        raise CaseFailed(f"{what}: expected {clipped(wanted_text)}, got {clipped(actual_text)}")


def clipped(text: str) -> str:
    """Returns the beginning of a text."""
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"
