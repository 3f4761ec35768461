"""The server, which answers the requests of one connection one at a time, in order."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol, runtime_checkable

from .endpoints import BoundSocket
from .wire import (
    INTERNAL_ERROR,
    INVALID_MESSAGE,
    MALFORMED_PAYLOAD,
    MAX_PAYLOAD,
    Codec,
    CodecError,
    FrameTooLarge,
    JsonCodec,
    Message,
    ProtocolError,
    codec_of,
    envelope,
    error_payload,
    frame,
    read_envelope,
    read_frame,
)

IDLE_SECONDS = 60.0
"""The idle time after which the server closes a connection (rule 8.2)."""

CLOSING_SECONDS = 5.0
"""The time limit for requests in flight when a server closes, and for a connection to close."""


class Agent(Protocol):
    """An agent that a server can serve."""

    @property
    def name(self) -> str:
        """Returns the agent's name."""

    async def process(self, message: Message) -> Message:
        """Answers one message with another."""


@runtime_checkable
class StreamingAgent(Agent, Protocol):
    """An agent that can also stream."""

    def stream(self, message: Message) -> AsyncGenerator[Message, None]:
        """Answers one message with any number of others."""


async def serve(agent: Agent, endpoint: str) -> "Server":
    """Starts a server for an agent. The server accepts connections when this returns."""
    server = Server(agent)
    await server.start(endpoint)
    return server


class Server:
    """A server with one agent on one endpoint, which answers to any name (rule 6.5).

    It answers each request in the format of the request (rule 10.2).
    """

    def __init__(self, agent: Agent, limit: int = MAX_PAYLOAD) -> None:
        self.endpoint = ""
        """The endpoint of the server, with the port that the system chose."""
        self._agent = agent
        self._limit = limit
        self._connections: set[asyncio.Future[None]] = set()
        self._closing = asyncio.get_running_loop().create_future()

    async def start(self, endpoint: str) -> None:
        """Binds the endpoint and starts to accept connections."""
        self._bound = BoundSocket(endpoint)
        self._listener = await asyncio.start_server(self._accept, sock=self._bound.socket)
        self.endpoint = self._bound.endpoint

    async def close(self) -> None:
        """Accepts no more connections, answers the requests in flight, then closes (rule 8.4)."""
        self._closing.set_result(None)
        self._listener.close()
        self._bound.remove_file()
        if self._connections:
            _, late = await asyncio.wait(self._connections, timeout=CLOSING_SECONDS)
            await asyncio.gather(*map(_drop, late))

    # ---- one connection ----

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.ensure_future(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Reading one frame ahead detects that a client disconnects while its request is handled.
        upcoming = asyncio.ensure_future(read_frame(reader, self._limit))
        try:
            while True:
                await asyncio.wait(
                    {upcoming, self._closing},
                    timeout=IDLE_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if self._closing.done() or not upcoming.done():
                    break
                payload = upcoming.result()
                if payload is None:
                    break
                upcoming = asyncio.ensure_future(read_frame(reader, self._limit))
                await self._answer_unless_disconnected(payload, upcoming, writer)
        except FrameTooLarge as error:
            writer.write(self._error(JsonCodec(), error.request_id, error))
        except (EOFError, OSError, CodecError):
            pass  # The client disconnected, or its id is too long for any answer.
        finally:
            await _drop(upcoming)
            await _close(writer)

    async def _answer_unless_disconnected(
        self, payload: bytes, upcoming: "asyncio.Future[Any]", writer: asyncio.StreamWriter
    ) -> None:
        """Answers a request, and drops the work if the client disconnects (rule 6.6)."""
        work: asyncio.Future[Any] = asyncio.ensure_future(self._answer(payload, writer))
        try:
            await asyncio.wait({work, upcoming}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and _is_disconnected(upcoming):
                return
            await work
        finally:
            await _drop(work)

    async def _answer(self, payload: bytes, writer: asyncio.StreamWriter) -> None:
        async with aclosing(self._answers(payload)) as frames:
            async for answer in frames:
                writer.write(answer)
                await writer.drain()

    # ---- one request ----

    async def _answers(self, payload: bytes) -> AsyncGenerator[bytes, None]:
        """Yields the frames that answer one payload."""
        codec = codec_of(payload)
        try:
            request = read_envelope(codec, payload)
        except ProtocolError as error:
            yield self._error(codec, error.request_id, error)
            return
        request_id = request["id"]
        try:
            method, message = _read_request(request)
            if method == "process":
                reply = await self._agent.process(message)
                yield self._frame(codec, "response", request_id, {"message": reply.to_wire()})
            else:
                async with aclosing(self._stream(message)) as chunks:
                    async for chunk in chunks:
                        payload = {"message": chunk.to_wire()}
                        yield self._frame(codec, "stream_chunk", request_id, payload)
                yield self._frame(codec, "stream_end", request_id, {})
        except ProtocolError as error:
            yield self._error(codec, request_id, error)
        except Exception as error:  # A failure of the agent (rule 7.2).
            yield self._error(codec, request_id, ProtocolError(INTERNAL_ERROR, str(error)))

    def _stream(self, message: Message) -> AsyncGenerator[Message, None]:
        if not isinstance(self._agent, StreamingAgent):
            raise NotImplementedError(f"{self._agent.name} does not support streaming")
        return self._agent.stream(message)

    def _frame(
        self, codec: Codec, kind: str, request_id: str, payload: dict[str, Any]
    ) -> bytes:
        return frame(codec.encode(envelope(kind, request_id, payload)), self._limit)

    def _error(self, codec: Codec, request_id: str, error: ProtocolError) -> bytes:
        """Returns the frame of an error, without the parts that do not fit (rule 7.4)."""
        try:
            payload = error_payload(error.code, str(error), error.details)
            return self._frame(codec, "error", request_id, payload)
        except CodecError:
            pass
        try:
            payload = error_payload(error.code, str(error), {})
            return self._frame(codec, "error", request_id, payload)
        except CodecError as cause:
            payload = error_payload(INTERNAL_ERROR, str(cause), {})
            return self._frame(codec, "error", request_id, payload)


def _read_request(request: dict[str, Any]) -> tuple[str, Message]:
    """Returns the method and the message of a request; raises the error of rule 7.3."""
    kind, payload = request["type"], request["payload"]
    if kind != "request":
        raise ProtocolError(
            INVALID_MESSAGE, f"Expected 'request' but got '{kind}'", {"request": request}
        )
    method = payload.get("method")
    if method not in ("process", "stream"):
        raise ProtocolError(INVALID_MESSAGE, f"Unknown method: {method}", {"method": method})
    if not isinstance(payload.get("agent_name"), (str, type(None))):
        raise ProtocolError(MALFORMED_PAYLOAD, "'agent_name' is not text")
    data = payload.get("message")
    try:
        return method, Message.from_wire(data)
    except ValueError as error:
        raise ProtocolError(
            MALFORMED_PAYLOAD, f"Failed to decode message: {error}", {"data": data}
        ) from error


def _is_disconnected(upcoming: "asyncio.Future[bytes | None]") -> bool:
    """Returns true if reading ahead found the end of the connection."""
    if not upcoming.done():
        return False
    error = upcoming.exception()
    return isinstance(error, (EOFError, OSError)) or (error is None and upcoming.result() is None)


async def _drop(task: "asyncio.Future[Any]") -> None:
    """Cancels a task, waits for its end, and ignores its result."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    try:
        await asyncio.wait_for(writer.wait_closed(), CLOSING_SECONDS)
    except (OSError, asyncio.TimeoutError):
        writer.transport.abort()
