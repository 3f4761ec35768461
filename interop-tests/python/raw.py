"""A connection that sends any payload, independent of the backend."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agentwire_peer.endpoints import open_connection
from agentwire_peer.wire import codec_of, frame, read_frame

_KEYS = ["version", "type", "id", "timestamp", "payload"]


class RawConnection:
    """A connection that sends payloads unchanged and checks the form of the answers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, payload: bytes) -> dict[str, Any]:
        """Sends one payload and returns the envelope that answers it."""
        self._writer.write(frame(payload))
        await self._writer.drain()
        answer = await read_frame(self._reader)
        if answer is None:
            raise ConnectionResetError("the server closed the connection")
        codec = codec_of(payload)
        envelope: dict[str, Any] = codec.decode(answer)
        if codec.encode(envelope) != answer:
            raise ValueError(f"not as Python writes it: {answer[:200]!r}")
        if list(envelope) != _KEYS:
            raise ValueError(f"the keys of the envelope are {list(envelope)}")
        return envelope


@asynccontextmanager
async def raw_connection(endpoint: str) -> AsyncIterator[RawConnection]:
    """Opens a connection, and closes it at the end."""
    reader, writer = await open_connection(endpoint)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.close()
