"""The client: one connection, one call at a time on it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from .endpoints import open_connection
from .wire import (
    INVALID_MESSAGE,
    MALFORMED_PAYLOAD,
    MAX_PAYLOAD,
    Codec,
    JsonCodec,
    Message,
    ProtocolError,
    envelope,
    frame,
    read_envelope,
    read_frame,
)


class RemoteError(Exception):
    """An error that the server sent as its answer."""

    def __init__(self, code: str, message: str, details: dict[str, Any]) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = details


async def connect(
    endpoint: str, agent_name: str = "", codec: Codec | None = None
) -> "Client":
    """Returns a client that is connected to an endpoint."""
    client = Client(endpoint, agent_name, codec)
    await client.connect()
    return client


class Client:
    """A client of the agent at an endpoint.

    Calls on one client wait for each other; calls that must not wait need separate clients (rule
    6.4). If the connection has closed, the next call opens a new one.
    """

    def __init__(
        self,
        endpoint: str,
        agent_name: str = "",
        codec: Codec | None = None,
        limit: int = MAX_PAYLOAD,
    ) -> None:
        self._endpoint = endpoint
        self._agent_name = agent_name
        self._codec = codec or JsonCodec()
        self._limit = limit
        self._lock = asyncio.Lock()
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def connect(self) -> None:
        """Opens a connection, unless one is open and the server has not closed it."""
        await self._open()

    async def process(self, message: Message) -> Message:
        """Calls the agent; raises RemoteError if the server answers with an error."""
        async with self._request("process", message) as receive:
            answer = await receive()
            if answer["type"] != "response":
                raise _unexpected(answer)
            return _message_of(answer)

    async def stream(self, message: Message) -> AsyncIterator[Message]:
        """Calls the agent and yields its chunks as they arrive."""
        async with self._request("stream", message) as receive:
            while (answer := await receive())["type"] != "stream_end":
                if answer["type"] != "stream_chunk":
                    raise _unexpected(answer)
                yield _message_of(answer)

    async def close(self) -> None:
        """Closes the connection."""
        if self._connection is None:
            return
        _, writer = self._connection
        self._connection = None
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    @asynccontextmanager
    async def _request(
        self, method: str, message: Message
    ) -> AsyncIterator[Callable[[], Awaitable[dict[str, Any]]]]:
        """Sends a request and yields a function that receives its answers."""
        name = {"agent_name": self._agent_name} if self._agent_name else {}
        payload = {"method": method, **name, "message": message.to_wire()}
        request_id = str(uuid.uuid4())
        request = frame(self._codec.encode(envelope("request", request_id, payload)), self._limit)

        async with self._lock:
            reader, writer = await self._open()
            try:
                writer.write(request)
                await writer.drain()
                yield lambda: self._receive(reader, request_id)
            except RemoteError:
                raise  # The error is an answer, so the connection stays usable.
            except BaseException:
                # The call was cancelled, or the connection is broken. Closing the connection tells
                # the server to drop the work (rule 6.6); the next call opens a new connection.
                self._connection = None
                writer.transport.abort()
                raise

    async def _receive(self, reader: asyncio.StreamReader, request_id: str) -> dict[str, Any]:
        """Returns the next answer to a request, and discards all other answers."""
        while (payload := await read_frame(reader, self._limit)) is not None:
            answer = read_envelope(self._codec, payload)
            if answer["id"] != request_id:
                continue
            if answer["type"] == "error":
                raise _remote_error(answer["payload"])
            return answer
        raise ConnectionResetError("the server closed the connection before answering")

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._connection is not None:
            reader, writer = self._connection
            if reader.at_eof() or reader.exception() or writer.is_closing():
                await self.close()
        if self._connection is None:
            self._connection = await open_connection(self._endpoint)
        return self._connection


def _message_of(answer: dict[str, Any]) -> Message:
    try:
        return Message.from_wire(answer["payload"].get("message"))
    except ValueError as error:
        raise ProtocolError(MALFORMED_PAYLOAD, f"The answer has no message: {error}") from error


def _remote_error(payload: dict[str, Any]) -> RemoteError:
    code, message = payload.get("error_code"), payload.get("error_message")
    details = payload.get("error_details") or {}
    if isinstance(code, str) and isinstance(message, str) and isinstance(details, dict):
        return RemoteError(code, message, details)
    raise ProtocolError(MALFORMED_PAYLOAD, f"The payload is not an error: {payload}")


def _unexpected(answer: dict[str, Any]) -> ProtocolError:
    return ProtocolError(INVALID_MESSAGE, f"Unexpected answer of type {answer['type']!r}")
