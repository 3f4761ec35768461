"""The implementation of these tests over HTTP, on the library aiohttp.

A bridge over a Unix socket connects frames with requests: each frame becomes the body of a request,
and each answer or event a frame. The events that the server sends take turns in the ways in which
the specification lets a server write them, and so do the forms and statuses of errors.
"""

import asyncio
import json
import struct
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

import agentwire_peer
from agentwire_peer import Agent, Codec
from agentwire_peer.endpoints import HttpEndpoint, parse_endpoint
from agentwire_peer.wire import MAX_PAYLOAD, codec_of

from . import BackendError

REPORTS_CODES = True
CLIENT_RECONNECTS = False
"""A client may not have noticed yet that its server has gone."""

_STATUSES = {"INVALID_MESSAGE": 400, "MALFORMED_PAYLOAD": 400, "AGENT_NOT_FOUND": 404}


async def connect(endpoint: str, agent_name: str, codec: Codec) -> "Client":
    """Creates a client."""
    client = Client(endpoint, agent_name, codec)
    await client.start()
    return client


async def serve(agent: Agent, endpoint: str) -> "Server":
    """Starts a server for an agent."""
    server = Server(agent, _parse(endpoint))
    await server.start()
    return server


class Client:
    """A client of the own implementation, whose frames a bridge sends as requests."""

    def __init__(self, endpoint: str, agent_name: str, codec: Codec) -> None:
        parsed = _parse(endpoint)
        self._base = str(HttpEndpoint("http", parsed.host, parsed.port, parsed.path)).rstrip("/")
        self._directory = tempfile.TemporaryDirectory()
        self._path = Path(self._directory.name) / "inner.sock"
        self._client = agentwire_peer.Client(f"unix://{self._path}", agent_name, codec)
        self.process = self._client.process
        self.stream = self._client.stream

    async def start(self) -> None:
        """Starts the bridge."""
        self._session = aiohttp.ClientSession()
        self._server = await asyncio.start_unix_server(self._serve, self._path)
        await self._client.connect()

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()
        self._server.close()
        await self._session.close()
        self._directory.cleanup()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError, aiohttp.ClientError):
            while True:
                payload = await _read(reader)
                async for answer in self._post(payload):
                    writer.write(struct.pack(">I", len(answer)) + answer)
                    await writer.drain()
        writer.close()

    async def _post(self, payload: bytes) -> AsyncIterator[bytes]:
        codec = codec_of(payload)
        method = codec.decode(payload)["payload"]["method"]
        url = f"{self._base}/{method}"
        headers = {"Content-Type": "application/octet-stream"}
        async with self._session.post(url, data=payload, headers=headers) as response:
            if response.content_type != "text/event-stream":
                yield await response.read()
                return
            async for event in _events(response.content.iter_any()):
                # Events are always JSON, and the client reads its own format.
                yield codec.encode(json.loads(event))


class Server:
    """A server of the own implementation behind a bridge."""

    def __init__(self, agent: Agent, endpoint: HttpEndpoint) -> None:
        self._agent = agent
        self._parsed = endpoint
        self._ways = cycle(range(4))

    async def start(self) -> None:
        """Starts to accept connections."""
        self._directory = tempfile.TemporaryDirectory()
        path = f"unix://{self._directory.name}/inner.sock"
        self._inner = await agentwire_peer.serve(self._agent, path)
        app = web.Application(client_max_size=MAX_PAYLOAD)
        prefix = self._parsed.path.rstrip("/")
        app.router.add_post(prefix + "/process", self._process)
        app.router.add_post(prefix + "/stream", self._stream)
        # A caller that leaves ends its handler.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._parsed.host, self._parsed.port)
        await site.start()
        assert site._server is not None
        port = site._server.sockets[0].getsockname()[1]
        parsed = self._parsed
        self.endpoint = str(HttpEndpoint(parsed.scheme, parsed.host, port, parsed.path))

    async def close(self) -> None:
        """Answers the requests in flight, and then stops the server."""
        await self._runner.cleanup()
        await self._inner.close()
        self._directory.cleanup()

    async def _answers(self, request: web.Request) -> AsyncIterator[bytes]:
        path = self._inner.endpoint.removeprefix("unix://")
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            payload = await request.read()
            writer.write(struct.pack(">I", len(payload)) + payload)
            while True:
                yield await _read(reader)
        finally:
            writer.transport.abort()

    async def _process(self, request: web.Request) -> web.Response:
        async for answer in self._answers(request):
            codec = codec_of(answer)
            envelope = codec.decode(answer)
            status = 200
            if envelope["type"] == "error":
                code = envelope["payload"]["error_code"]
                way = next(self._ways)
                status = _STATUSES.get(code, 500) if way % 2 else 200
                answer = codec.encode(_error_in_form(envelope, way))
            return web.Response(body=answer, status=status, content_type="application/json")
        raise AssertionError("an inner server always answers")

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        async for answer in self._answers(request):
            envelope = codec_of(answer).decode(answer)
            way = next(self._ways)
            if envelope["type"] == "error":
                envelope = _error_in_form(envelope, way)
            event = _event(envelope, way)
            # The pieces cut through lines and characters.
            half = len(event) // 2
            await response.write(event[:half])
            await response.write(event[half:])
            if envelope["type"] != "stream_chunk":
                break
        return response


def _event(envelope: dict[str, Any], way: int) -> bytes:
    """An event, written in one of the ways that the specification allows."""
    if way == 0:
        return f"data: {json.dumps(envelope)}\n\n".encode()
    if way == 1:
        text = json.dumps(envelope, ensure_ascii=False)
        # A reader in Python would take these for the ends of lines.
        return f": comment\r\nevent: chunk\r\nid: 1\r\ndata:{text}\r\n\r\n".encode()
    if way == 2:
        lines = json.dumps(envelope, indent=1).split("\n")
        return ("".join(f"data: {line}\n" for line in lines) + "\n").encode()
    return f"\rretry: 5\rdata:  {json.dumps(envelope)}\r\r".encode()


def _error_in_form(envelope: dict[str, Any], way: int) -> dict[str, Any]:
    """An error in the form of one of the servers. Only one of the forms has details."""
    payload = envelope["payload"]
    if way < 2 or payload["error_details"]:
        return envelope
    error = {"code": payload["error_code"], "message": payload["error_message"]}
    return {**envelope, "payload": {"error": error}}


async def _events(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Yields the data of events. The server under test writes each event in one line."""
    buffer = b""
    async for chunk in chunks:
        *events, buffer = (buffer + chunk).split(b"\n\n")
        for event in events:
            for line in _lines(event):
                if line.startswith("data: "):
                    yield line.removeprefix("data: ")
    assert not buffer, f"an event without an end: {buffer!r}"


def _lines(event: bytes) -> Iterator[str]:
    text = event.decode("ascii")
    for line in text.split("\n"):
        assert not line or line.startswith(("data: ", ": ")), line
        yield line


async def _read(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">I", await reader.readexactly(4))
    return await reader.readexactly(size)


def _parse(text: str) -> HttpEndpoint:
    endpoint = parse_endpoint(text)
    if isinstance(endpoint, HttpEndpoint):
        return endpoint
    raise BackendError(f"this implementation supports only http:// and h2c://, not {text}")
