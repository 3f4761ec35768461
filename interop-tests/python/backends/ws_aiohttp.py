"""WebSocket on the library aiohttp."""

from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import WSMsgType, web

from .websocket import Handler


class Socket:
    """An open connection."""

    def __init__(
        self,
        socket: "web.WebSocketResponse | aiohttp.ClientWebSocketResponse",
        end: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._socket = socket
        self._end = end

    async def receive(self) -> bytes | None:
        """Returns the next message, or None at the end."""
        message = await self._socket.receive()
        if message.type is WSMsgType.TEXT:
            return bytes(message.data.encode("utf-8"))
        return bytes(message.data) if message.type is WSMsgType.BINARY else None

    async def send(self, fragments: list[bytes], text: bool, pings: bool) -> None:
        """Sends a message. The library writes no fragments, so a ping goes before the message."""
        if pings:
            await self._socket.ping()
        payload = b"".join(fragments)
        if text:
            await self._socket.send_str(payload.decode("utf-8"))
        else:
            await self._socket.send_bytes(payload)

    async def close(self) -> None:
        """Closes the connection."""
        await self._socket.close()
        if self._end:
            await self._end()


class Listener:
    """A server."""

    def __init__(self, runner: web.AppRunner, site: web.TCPSite) -> None:
        assert site._server is not None
        self.port: int = site._server.sockets[0].getsockname()[1]
        self._runner = runner

    async def close(self) -> None:
        """Stops the server."""
        await self._runner.cleanup()


class Library:
    """The library aiohttp, with compression offered and accepted."""

    async def connect(self, url: str) -> Socket:
        """Opens a connection."""
        session = aiohttp.ClientSession()
        try:
            socket = await session.ws_connect(url, compress=15, max_msg_size=0)
        except aiohttp.ClientError as error:
            await session.close()
            raise ConnectionRefusedError(str(error)) from error
        return Socket(socket, session.close)

    async def listen(self, host: str, port: int, handler: Handler) -> Listener:
        """Starts a server."""

        async def accept(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse(heartbeat=20, max_msg_size=10 << 20)
            await socket.prepare(request)
            await handler(Socket(socket))
            return socket

        app = web.Application()
        app.router.add_get("/{path:.*}", accept)
        runner = web.AppRunner(app, shutdown_timeout=5)
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        await site.start()
        return Listener(runner, site)
