"""The implementation of these tests over WebSocket, on one of three independent libraries.

A library exchanges messages, and the implementation exchanges frames. A bridge connects the two over
a Unix socket: each message becomes a frame, and each frame a message. Text, fragments and pings
between fragments take turns in the messages that the bridge sends.
"""

import asyncio
import struct
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Protocol

import agentwire_peer
from agentwire_peer import Agent, Codec
from agentwire_peer.endpoints import WebSocketEndpoint, parse_endpoint
from agentwire_peer.wire import MAX_PAYLOAD

from . import BackendError

REPORTS_CODES = True
CLIENT_RECONNECTS = False
"""The bridge of a client may not have noticed yet that its server has gone."""


class Socket(Protocol):
    """An open WebSocket of a library."""

    async def receive(self) -> bytes | None:
        """Returns the next message, of either type, or None at the end."""

    async def send(self, fragments: list[bytes], text: bool, pings: bool) -> None:
        """Sends a message in fragments, with or without pings between them."""

    async def close(self) -> None:
        """Closes the connection."""


Handler = Callable[[Socket], Awaitable[None]]


class Listener(Protocol):
    """A server of a library."""

    port: int

    async def close(self) -> None:
        """Stops the server and closes its connections."""


class Library(Protocol):
    """A library for WebSocket."""

    async def connect(self, url: str) -> Socket:
        """Opens a connection."""

    async def listen(self, host: str, port: int, handler: Handler) -> Listener:
        """Starts a server, which passes each connection to the handler."""


class WebSocketBackend:
    """The backend on one library."""

    REPORTS_CODES = REPORTS_CODES
    CLIENT_RECONNECTS = CLIENT_RECONNECTS

    def __init__(self, library: Library) -> None:
        self._library = library

    async def connect(self, endpoint: str, agent_name: str, codec: Codec) -> "Client":
        """Creates a client that is connected to a server."""
        client = Client(self._library, endpoint, agent_name, codec)
        await client.start()
        return client

    async def serve(self, agent: Agent, endpoint: str) -> "Server":
        """Starts a server for an agent."""
        parsed = _parse(endpoint)
        directory = tempfile.TemporaryDirectory()
        inner = await agentwire_peer.serve(agent, f"unix://{directory.name}/inner.sock")

        async def handler(socket: Socket) -> None:
            path = inner.endpoint.removeprefix("unix://")
            await _bridge(socket, *await asyncio.open_unix_connection(path))

        listener = await self._library.listen(parsed.host, parsed.port, handler)
        parsed = WebSocketEndpoint(parsed.host, listener.port, parsed.path)
        return Server(str(parsed), listener, inner, directory)


class Client:
    """A client of the own implementation, which calls through a bridge."""

    def __init__(self, library: Library, endpoint: str, agent_name: str, codec: Codec) -> None:
        self._library = library
        self._endpoint = str(_parse(endpoint))
        self._directory = tempfile.TemporaryDirectory()
        self._path = Path(self._directory.name) / "inner.sock"
        self._bridges: set[asyncio.Task[None]] = set()
        self._client = agentwire_peer.Client(f"unix://{self._path}", agent_name, codec)
        self.process = self._client.process
        self.stream = self._client.stream

    async def start(self) -> None:
        """Opens the first connection."""
        self._server = await asyncio.start_unix_server(self._accept, self._path)
        await self._client.connect()

    async def close(self) -> None:
        """Closes the connection."""
        await self._client.close()
        self._server.close()
        if self._bridges:
            await asyncio.wait(self._bridges, timeout=5)
        self._directory.cleanup()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bridge = asyncio.ensure_future(self._serve(reader, writer))
        self._bridges.add(bridge)
        bridge.add_done_callback(self._bridges.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            socket = await self._library.connect(self._endpoint)
        except OSError:
            writer.transport.abort()
            return
        await _bridge(socket, reader, writer)


class Server:
    """A server of the own implementation behind a bridge."""

    def __init__(
        self,
        endpoint: str,
        listener: Listener,
        inner: agentwire_peer.Server,
        directory: "tempfile.TemporaryDirectory[str]",
    ) -> None:
        self.endpoint = endpoint
        self._listener = listener
        self._inner = inner
        self._directory = directory

    async def close(self) -> None:
        """Answers the requests in flight, and then stops the server."""
        await self._inner.close()
        await self._listener.close()
        self._directory.cleanup()


def _parse(text: str) -> WebSocketEndpoint:
    endpoint = parse_endpoint(text)
    if isinstance(endpoint, WebSocketEndpoint):
        return endpoint
    raise BackendError(f"this implementation supports only ws://, not {text}")


async def _bridge(
    socket: Socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Passes messages on until either side ends."""
    tasks = {
        asyncio.ensure_future(_to_frames(socket, writer)),
        asyncio.ensure_future(_to_messages(reader, socket)),
    }
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    writer.close()
    with suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(socket.close(), 5)


async def _to_frames(socket: Socket, writer: asyncio.StreamWriter) -> None:
    while (payload := await socket.receive()) is not None:
        writer.write(struct.pack(">I", len(payload)) + payload)
        await writer.drain()


async def _to_messages(reader: asyncio.StreamReader, socket: Socket) -> None:
    with suppress(asyncio.IncompleteReadError, OSError):
        for count, text, pings in cycle(_WAYS):
            (size,) = struct.unpack(">I", await reader.readexactly(4))
            assert size <= MAX_PAYLOAD
            payload = await reader.readexactly(size)
            # Only JSON can be sent as text.
            text = text and payload[:1] == b"{"
            await socket.send(list(_cut(payload, count)), text, pings)


_WAYS = [(1, False, False), (1, True, False), (5, False, True), (3, True, True)]
"""The ways to send messages: the number of fragments, whether as text, whether with pings."""


def _cut(payload: bytes, count: int) -> Iterator[bytes]:
    """Yields parts of a payload, which may be empty and may cut through a character."""
    size = len(payload) // count
    for i in range(count - 1):
        yield payload[i * size : (i + 1) * size]
    yield payload[(count - 1) * size :]
