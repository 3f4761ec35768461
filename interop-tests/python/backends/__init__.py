"""The implementations that `serve.py` and `call.py` can run on.

A backend is a module with the parts of `Backend`. All of them take and give agentwire_peer's
`Message`, and raise its `RemoteError` when the server answers with an error.
"""

import os
from collections.abc import AsyncIterator
from typing import Protocol, cast

from agentwire_peer import Agent, Codec, Message

VARIABLE = "AGENTWIRE_PEER"


class BackendError(Exception):
    """The backend that was asked for does not exist or cannot be loaded."""


class Client(Protocol):
    """A client of one server."""

    async def process(self, message: Message) -> Message:
        """Calls the agent."""

    def stream(self, message: Message) -> AsyncIterator[Message]:
        """Calls the agent and gives its chunks."""

    async def close(self) -> None:
        """Closes the connection."""


class Server(Protocol):
    """A server that accepts connections."""

    @property
    def endpoint(self) -> str:
        """Where it listens, with the port that was chosen."""

    async def close(self) -> None:
        """Stops the server."""


class Backend(Protocol):
    """One implementation of the protocol."""

    REPORTS_CODES: bool
    """Whether a RemoteError carries the code that the server sent; else it is empty."""

    CLIENT_RECONNECTS: bool
    """Whether a client still works after its server was restarted."""

    async def connect(self, endpoint: str, agent_name: str, codec: Codec) -> Client:
        """Makes a client that writes in a format."""

    async def serve(self, agent: Agent, endpoint: str) -> Server:
        """Starts a server."""


def load() -> Backend:
    """The backend that the environment variable AGENTWIRE_PEER names: `own`, or `agenkit`."""
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
    raise BackendError(f"{VARIABLE}={name!r} names no implementation: it is 'own' or 'agenkit'")
