"""WebSocket on the library websockets."""

import asyncio
from collections.abc import AsyncIterator

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import Server, serve
from websockets.exceptions import ConnectionClosed

from .websocket import Handler


class Socket:
    """An open connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def receive(self) -> bytes | None:
        """Returns the next message, or None at the end."""
        try:
            return await self._connection.recv(decode=False)
        except ConnectionClosed:
            return None

    async def send(self, fragments: list[bytes], text: bool, pings: bool) -> None:
        """Sends a message in fragments."""

        async def parts() -> AsyncIterator[bytes]:
            for i, fragment in enumerate(fragments):
                if pings and i:
                    await self._connection.ping()
                yield fragment

        try:
            if len(fragments) == 1:
                await self._connection.send(fragments[0], text=text)
            else:
                await self._connection.send(parts(), text=text)
        except ConnectionClosed as error:
            raise ConnectionResetError(str(error)) from error

    async def close(self) -> None:
        """Closes the connection."""
        await self._connection.close()


class Listener:
    """A server."""

    def __init__(self, server: Server) -> None:
        self.port: int = next(iter(server.sockets)).getsockname()[1]
        self._server = server

    async def close(self) -> None:
        """Stops the server."""
        self._server.close()
        await asyncio.wait_for(self._server.wait_closed(), 5)


class Library:
    """The library websockets, with its defaults: compression is offered and accepted."""

    async def connect(self, url: str) -> Socket:
        """Opens a connection."""
        return Socket(await connect(url, max_size=None))

    async def listen(self, host: str, port: int, handler: Handler) -> Listener:
        """Starts a server."""
        server = await serve(
            lambda connection: handler(Socket(connection)), host, port, max_size=10 << 20
        )
        return Listener(server)
