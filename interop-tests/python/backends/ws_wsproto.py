"""WebSocket on the library wsproto, which reads and writes bytes and leaves the sockets to asyncio."""

import asyncio
from collections import deque
from contextlib import suppress
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from .websocket import Handler


class Socket:
    """An open connection."""

    def __init__(
        self,
        kind: ConnectionType,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._protocol = WSConnection(kind)
        self._reader = reader
        self._writer = writer
        self._events: deque[Event] = deque()
        self._partial = b""
        self._has_ended = False

    async def event(self) -> Event | None:
        """Returns the next event, or None at the end."""
        while not self._events:
            if self._has_ended:
                return None
            received = await self._reader.read(65_536)
            try:
                self._protocol.receive_data(received or None)
                self._events.extend(self._protocol.events())
            except RemoteProtocolError as error:
                if error.event_hint:
                    await self.write(error.event_hint)
                self._has_ended = True
            self._has_ended |= not received
        return self._events.popleft()

    async def write(self, *events: Event) -> None:
        """Writes events."""
        try:
            data = b"".join(map(self._protocol.send, events))
        except LocalProtocolError as error:
            raise ConnectionResetError(str(error)) from error
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> bytes | None:
        """Returns the next message, or None at the end."""
        while event := await self.event():
            if isinstance(event, Ping):
                await self.write(event.response())
            elif isinstance(event, CloseConnection):
                with suppress(OSError):
                    await self.write(event.response())
                return None
            elif isinstance(event, Message):
                data = event.data
                self._partial += data.encode("utf-8") if isinstance(data, str) else bytes(data)
                if event.message_finished:
                    message, self._partial = self._partial, b""
                    return message
        return None

    async def send(self, fragments: list[bytes], text: bool, pings: bool) -> None:
        """Sends a message in fragments."""
        for i, fragment in enumerate(fragments):
            is_last = i == len(fragments) - 1
            # A text fragment of this library is text, so a character cannot be cut.
            message: Event = (
                TextMessage(fragment.decode("utf-8"), message_finished=is_last)
                if text and all(map(bytes.isascii, fragments))
                else BytesMessage(fragment, message_finished=is_last)
            )
            if pings and i:
                await self.write(Ping(b"between"))
            await self.write(message)

    async def close(self) -> None:
        """Closes the connection, and waits for the close frame of the peer."""
        with suppress(OSError):
            await self.write(CloseConnection(1000))
            while not self._has_ended and not isinstance(await self.event(), CloseConnection):
                pass
        self._writer.close()


class Listener:
    """A server."""

    def __init__(self, server: asyncio.Server) -> None:
        self.port: int = server.sockets[0].getsockname()[1]
        self._server = server

    async def close(self) -> None:
        """Stops the server."""
        self._server.close()


class Library:
    """The library wsproto, without extensions."""

    async def connect(self, url: str) -> Socket:
        """Opens a connection."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        socket = Socket(ConnectionType.CLIENT, reader, writer)
        await socket.write(Request(host=parts.netloc, target=parts.path or "/"))
        event = await socket.event()
        if not isinstance(event, AcceptConnection):
            writer.close()
            raise ConnectionRefusedError(f"the server refused with {event}")
        return socket

    async def listen(self, host: str, port: int, handler: Handler) -> Listener:
        """Starts a server."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            socket = Socket(ConnectionType.SERVER, reader, writer)
            if isinstance(await socket.event(), Request):
                await socket.write(AcceptConnection())
                await handler(socket)
            else:
                await socket.write(RejectConnection(400))
            writer.close()

        return Listener(await asyncio.start_server(accept, host, port))
