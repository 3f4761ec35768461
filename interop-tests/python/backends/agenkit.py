"""The backend of the Python package agenkit, which defined the protocol."""

import asyncio
import json
import logging
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import replace

from agenkit import interfaces
from agenkit.adapters.python import LocalAgent, RemoteAgent, RemoteExecutionError
from agenkit.adapters.python.errors import ConnectionError as AgenkitConnectionError
from agenkit.adapters.python.grpc_server import GRPCServer
from agenkit.adapters.python.http_server import HTTPAgentServer

from agentwire_peer import Agent, Codec, JsonCodec, Message, RemoteError, StreamingAgent
from agentwire_peer.endpoints import HttpEndpoint, UnixEndpoint, parse_endpoint

from . import BackendError

REPORTS_CODES = False
CLIENT_RECONNECTS = False

_CLOSING_SECONDS = 5.0
_GRPC = "grpc://"
_HTTP_ERROR = re.compile(r"HTTP error [0-9]{3}: (?P<body>.*)", re.DOTALL)

# agenkit logs a traceback for each failure of an agent; the failures here are deliberate.
logging.getLogger("agenkit").addHandler(logging.NullHandler())


async def connect(endpoint: str, agent_name: str, codec: Codec) -> "Client":
    """Creates a client, which connects with its first call."""
    if not isinstance(codec, JsonCodec):
        raise BackendError("agenkit supports only JSON")
    return Client(endpoint, agent_name)


async def serve(agent: Agent, endpoint: str) -> "Server":
    """Starts a server for an agent."""
    endpoint = _with_port(endpoint)
    wrapped = _StreamingAgent(agent) if isinstance(agent, StreamingAgent) else _Agent(agent)
    server: LocalAgent | GRPCServer | HTTPAgentServer
    parsed = parse_endpoint(endpoint)
    if endpoint.startswith(_GRPC):
        server = GRPCServer(wrapped, endpoint.removeprefix(_GRPC))
    elif isinstance(parsed, HttpEndpoint):
        # With its default limits: 30 seconds, and 100 calls a second after a burst of 200.
        server = HTTPAgentServer(wrapped, parsed.host, parsed.port)
    else:
        server = LocalAgent(wrapped, endpoint=endpoint)
    await server.start()
    return Server(server, endpoint)


class Client:
    """A client on agenkit's RemoteAgent."""

    def __init__(self, endpoint: str, agent_name: str) -> None:
        self._name, self._endpoint = agent_name, endpoint
        self._agent = RemoteAgent(agent_name, endpoint=endpoint)
        self._is_http = isinstance(parse_endpoint(endpoint), HttpEndpoint)
        self._has_streamed = False
        # agenkit's client puts this prefix before the text that the server sent.
        self._prefix = f"Remote execution failed on agent '{agent_name}': "

    async def process(self, message: Message) -> Message:
        """Calls the agent."""
        if self._is_http and self._has_streamed:
            # Over HTTP, agenkit's client cannot make a call after a stream.
            await self.close()
            self._agent = RemoteAgent(self._name, endpoint=self._endpoint)
            self._has_streamed = False
        with self._remote_errors():
            return _from_agenkit(await self._agent.process(_to_agenkit(message)))

    async def stream(self, message: Message) -> AsyncIterator[Message]:
        """Calls the agent and yields its chunks."""
        self._has_streamed = True
        with self._remote_errors():
            async for chunk in self._agent.stream(_to_agenkit(message)):
                yield _from_agenkit(chunk)

    async def close(self) -> None:
        """Closes the connection."""
        with suppress(OSError):  # agenkit raises if the server has closed the connection.
            await self._agent.close()

    @contextmanager
    def _remote_errors(self) -> Iterator[None]:
        try:
            yield
        except RemoteExecutionError as error:
            text = error.original_error.removeprefix(self._prefix)
            raise RemoteError("", text, error.details) from error
        except AgenkitConnectionError as error:
            # agenkit's client shows an answer with another status than 200 only as text.
            if not (answer := _HTTP_ERROR.search(error.message)):
                raise
            payload = json.loads(answer["body"])["payload"]
            text, details = payload["error_message"], payload["error_details"]
            raise RemoteError("", text, details) from error


class Server:
    """A server on agenkit's LocalAgent, GRPCServer or HTTPAgentServer."""

    def __init__(
        self, server: LocalAgent | GRPCServer | HTTPAgentServer, endpoint: str
    ) -> None:
        self.endpoint = endpoint
        self._server = server

    async def close(self) -> None:
        """Stops the server."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._server.stop(), _CLOSING_SECONDS)


class _Agent(interfaces.Agent):
    """An agent of these tests as an agenkit agent, which cannot stream."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    @property
    def name(self) -> str:
        return self._agent.name

    async def process(self, message: interfaces.Message) -> interfaces.Message:
        return _to_agenkit(await self._agent.process(_from_agenkit(message)))


class _StreamingAgent(_Agent):
    def __init__(self, agent: StreamingAgent) -> None:
        super().__init__(agent)
        self._streaming_agent = agent

    async def stream(self, message: interfaces.Message) -> AsyncIterator[interfaces.Message]:
        async with aclosing(self._streaming_agent.stream(_from_agenkit(message))) as chunks:
            async for chunk in chunks:
                yield _to_agenkit(chunk)


def _to_agenkit(message: Message) -> interfaces.Message:
    return interfaces.Message(message.role, message.content, message.metadata, message.timestamp)


def _from_agenkit(message: interfaces.Message) -> Message:
    return Message(message.role, message.content, message.metadata, message.timestamp)


def _with_port(text: str) -> str:
    """Replaces port 0 by a free port, because agenkit does not report the port it was given."""
    endpoint = parse_endpoint(text)
    if isinstance(endpoint, UnixEndpoint) or endpoint.port != 0:
        return text
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    with socket.create_server((endpoint.host, 0), family=family) as probe:
        return str(replace(endpoint, port=probe.getsockname()[1]))
