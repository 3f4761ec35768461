#!/usr/bin/env python3
"""Calls an agent over TLS with Python's module ssl: tls_call.py HOST PORT CA

CA is a PEM file with the certification authority of the server. Prints the version of TLS and the
content of the answer. Exits with 1 if the call fails.
"""

import asyncio
import ssl
import sys
import uuid

from agentwire_peer import JsonCodec, Message
from agentwire_peer.wire import MAX_PAYLOAD, envelope, frame, read_envelope, read_frame


async def main(host: str, port: int, authority: str) -> str:
    """Returns the line to print."""
    context = ssl.create_default_context(cafile=authority)
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    codec = JsonCodec()
    payload = {"method": "process", "message": Message("user", "over TLS").to_wire()}
    request = codec.encode(envelope("request", str(uuid.uuid4()), payload))
    writer.write(frame(request, MAX_PAYLOAD))
    received = await read_frame(reader, MAX_PAYLOAD)
    if received is None:
        raise EOFError("the server closed the connection")
    answer = read_envelope(codec, received)
    version = writer.get_extra_info("ssl_object").version()
    writer.close()
    await writer.wait_closed()
    return f"{version} {answer['payload']['message']['content']}"


if __name__ == "__main__":
    print(asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3])))
