"""The implementations on which `serve.py` and `call.py` can run.

A backend is a module with the members of `Backend`. Every backend uses agentwire_peer's `Message`,
and raises its `RemoteError` when the server answers with an error.
"""

import os
from collections.abc import AsyncIterator
from importlib import import_module
from typing import Protocol, cast

from agentwire_peer import Agent, Codec, Message

VARIABLE = "AGENTWIRE_PEER"


class BackendError(Exception):
    """The selected backend does not exist or cannot be loaded."""


class Client(Protocol):
    """A client of one server."""

    async def process(self, message: Message) -> Message:
        """Calls the agent."""

    def stream(self, message: Message) -> AsyncIterator[Message]:
        """Calls the agent and yields its chunks."""

    async def close(self) -> None:
        """Closes the connection."""


class Server(Protocol):
    """A server that accepts connections."""

    @property
    def endpoint(self) -> str:
        """Returns the endpoint of the server, with the port that the system chose."""

    async def close(self) -> None:
        """Stops the server."""


class Backend(Protocol):
    """One implementation of the protocol."""

    REPORTS_CODES: bool
    """True if a RemoteError has the code that the server sent; otherwise its code is empty."""

    CLIENT_RECONNECTS: bool
    """True if a client still works after its server was restarted."""

    async def connect(self, endpoint: str, agent_name: str, codec: Codec) -> Client:
        """Creates a client that writes requests in a format."""

    async def serve(self, agent: Agent, endpoint: str) -> Server:
        """Starts a server."""


def load() -> Backend:
    """Returns the backend that AGENTWIRE_PEER names.

    It is `own`, `agenkit`, `aiohttp-http` for HTTP, or one of the libraries for WebSocket:
    `websockets`, `aiohttp` or `wsproto`.
    """
    name = os.environ.get(VARIABLE, "own")
    if name == "own":
        from . import own

        return cast(Backend, own)
    if name == "agenkit":
        try:
            from . import agenkit
        except ImportError as error:
            raise BackendError(
                f"{VARIABLE}=agenkit needs the package agenkit: pip install agenkit"
                f" (Python 3.12 or later). The import failed with: {error}"
            ) from error
        return cast(Backend, agenkit)
    if name == "aiohttp-http":
        try:
            from . import http_aiohttp
        except ImportError as error:
            raise BackendError(f"{VARIABLE}={name} needs the package aiohttp: {error}") from error
        return cast(Backend, http_aiohttp)
    if name in _LIBRARIES:
        from .websocket import WebSocketBackend

        try:
            library = import_module(f".ws_{name}", __name__).Library()
        except ImportError as error:
            raise BackendError(f"{VARIABLE}={name} needs the package {name}: {error}") from error
        return cast(Backend, WebSocketBackend(library))
    raise BackendError(
        f"{VARIABLE}={name!r} names no implementation: it is 'own', 'agenkit', 'aiohttp-http', "
        + ", ".join(map(repr, _LIBRARIES))
    )


_LIBRARIES = ("websockets", "aiohttp", "wsproto")
