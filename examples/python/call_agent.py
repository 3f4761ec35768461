#!/usr/bin/env python3
"""Calls an agent, using only Python's standard library: call_agent.py [--stream] ENDPOINT TEXT

ENDPOINT is unix://PATH or tcp://HOST:PORT. The program prints the content of the reply or, with
--stream, the content of each chunk as it arrives.
"""

import json
import socket
import struct
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

MAX_PAYLOAD = 10 * 1024 * 1024


def connect(endpoint: str) -> socket.socket:
    scheme, _, address = endpoint.partition("://")
    if scheme == "unix":
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
        return connection
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)))


def call(connection: socket.socket, method: str, text: str) -> Iterator[Any]:
    """Sends one request and yields the content of the reply or of each chunk."""
    now = datetime.now(timezone.utc).isoformat()
    message = {"role": "user", "content": text, "metadata": {}, "timestamp": now}
    head = {"version": "1.0", "type": "request", "id": str(uuid.uuid4()), "timestamp": now}
    request = json.dumps({**head, "payload": {"method": method, "message": message}}).encode()
    connection.sendall(struct.pack(">I", len(request)) + request)

    # The connection is used only for this request, so each frame belongs to it.
    frames = connection.makefile("rb")
    while header := frames.read(4):
        (length,) = struct.unpack(">I", header)
        if length > MAX_PAYLOAD:
            sys.exit(f"the agent sent a frame of {length} bytes; the limit is {MAX_PAYLOAD}")
        answer = json.loads(frames.read(length))
        if answer["type"] == "error":
            sys.exit("{error_code}: {error_message}".format_map(answer["payload"]))
        if answer["type"] == "stream_end":
            return
        yield answer["payload"]["message"]["content"]
        if answer["type"] == "response":
            return
    sys.exit("the agent closed the connection without a reply")


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--stream"]
    if len(arguments) != 2 or not arguments[0].startswith(("unix://", "tcp://")):
        sys.exit(__doc__)
    endpoint, text = arguments
    for content in call(connect(endpoint), "stream" if "--stream" in sys.argv else "process", text):
        print(content, flush=True)
