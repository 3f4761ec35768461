#!/usr/bin/env python3
"""An agent in one file, using only Python's standard library: echo_agent.py ENDPOINT

ENDPOINT is unix://PATH or tcp://HOST:PORT. The agent prints `READY ENDPOINT` when it accepts
connections. It runs until SIGTERM or Ctrl-C. If standard input is a pipe, the agent also stops
when the pipe is closed.
"""

import asyncio
import json
import os
import signal
import stat
import struct
import sys
from collections.abc import AsyncIterator
from datetime import datetime, timezone
from typing import Any

MAX_PAYLOAD = 10 * 1024 * 1024


async def process(content: Any) -> Any:
    """Replies to one message. Replace this function with your own agent."""
    return content


async def stream(content: Any) -> AsyncIterator[Any]:
    """Streams a reply in chunks: the words of the message."""
    for word in str(content).split():
        yield word


async def answer(data: bytes) -> AsyncIterator[dict[str, Any]]:
    """Yields the envelopes of the reply to one request."""
    request_id = "unknown"
    try:
        request = json.loads(data)
        request_id = request["id"]
        method, message = request["payload"].get("method"), request["payload"].get("message")
        if method == "process":
            yield envelope("response", request_id, reply(await process(message["content"])))
        elif method == "stream":
            async for content in stream(message["content"]):
                yield envelope("stream_chunk", request_id, reply(content))
            yield envelope("stream_end", request_id, {})
        else:
            raise ValueError(f"Unknown method: {method}")
    except Exception as error:
        payload = {"error_code": "INTERNAL_ERROR", "error_message": str(error), "error_details": {}}
        yield envelope("error", request_id, payload)


def envelope(kind: str, request_id: str, payload: dict[str, Any]) -> dict[str, Any]:
    head = {"version": "1.0", "type": kind, "id": request_id, "timestamp": now()}
    return {**head, "payload": payload}


def reply(content: Any) -> dict[str, Any]:
    return {"message": {"role": "agent", "content": content, "metadata": {}, "timestamp": now()}}


def now() -> str:
    return datetime.now(timezone.utc).isoformat()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serves one connection. A frame is a four-byte length followed by an envelope."""
    try:
        while (length := struct.unpack(">I", await reader.readexactly(4))[0]) <= MAX_PAYLOAD:
            async for response in answer(await reader.readexactly(length)):
                data = json.dumps(response).encode()
                writer.write(struct.pack(">I", len(data)) + data)
                await writer.drain()
    except (EOFError, OSError, asyncio.CancelledError):
        pass  # The client has disconnected, or the agent is shutting down.
    finally:
        writer.close()


async def main(endpoint: str) -> None:
    scheme, _, address = endpoint.partition("://")
    if scheme == "unix":
        os.umask(0o177)  # Only this user can connect.
        server = await asyncio.start_unix_server(serve, address)
    else:
        host, _, port = address.rpartition(":")
        server = await asyncio.start_server(serve, host.strip("[]"), int(port))
        endpoint = f"tcp://{host}:{server.sockets[0].getsockname()[1]}"

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        loop.add_reader(0, lambda: None if os.read(0, 4096) else stop.set())
    print(f"READY {endpoint}", flush=True)
    await stop.wait()
    server.close()
    if scheme == "unix" and os.path.exists(address):
        os.unlink(address)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not sys.argv[1].startswith(("unix://", "tcp://")):
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1]))
