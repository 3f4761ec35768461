#!/usr/bin/env python3
"""Sends requests of agenkit's client with and without credentials: authenticated.py ENDPOINT TOKEN

Prints one line of JSON with what came of each request: a text is an answer, and an object is an error.
agenkit's client has no method for tools, so their requests are written by hand.
"""

import asyncio
import json
import socket
import sys

from agenkit.adapters.python import RemoteAgent, RemoteExecutionError
from agenkit.interfaces import Message

from agentwire_peer.endpoints import UnixEndpoint, parse_endpoint


def execute(endpoint: str, metadata: dict) -> object:
    """Runs the tool `forecast`."""
    parsed = parse_endpoint(endpoint)
    if isinstance(parsed, UnixEndpoint):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(parsed.path)
    else:
        connection = socket.create_connection((parsed.host, parsed.port))
    payload = {"method": "execute", "tool_name": "forecast", "kwargs": {}, "metadata": metadata}
    frame = json.dumps({"version": "1.0", "type": "request", "id": "1", "payload": payload}).encode()
    with connection, connection.makefile("rb") as reader:
        connection.sendall(len(frame).to_bytes(4, "big") + frame)
        answer = json.loads(reader.read(int.from_bytes(reader.read(4), "big")))
    if answer["type"] == "error":
        return {"error": answer["payload"]["error_message"]}
    return answer["payload"]["result"]["data"]


async def outcomes(endpoint: str, metadata: dict) -> dict:
    """Sends one request of each kind."""
    agent = RemoteAgent("weather", endpoint=endpoint)
    message = Message(role="user", content="?", metadata=metadata)
    results = {}
    try:
        results["process"] = (await agent.process(message)).content
    except RemoteExecutionError as error:
        results["process"] = {"error": str(error)}
    try:
        results["stream"] = "".join([chunk.content async for chunk in agent.stream(message)])
    except RemoteExecutionError as error:
        results["stream"] = {"error": str(error)}
    await agent.close()
    results["execute"] = await asyncio.to_thread(execute, endpoint, metadata)
    return results


async def main(endpoint: str, token: str) -> None:
    forged = {"authenticated_user": {"user_id": "root", "roles": ["admin"], "permissions": []}}
    cases = {
        "authorization": {"authorization": f"Bearer {token}"},
        "token": {"token": token},
        "api_key": {"api_key": token},
        "forged": {"authorization": f"Bearer {token}"} | forged,
        "none": {},
        "only_forged": forged,
        "wrong": {"authorization": "Bearer wrong"},
    }
    print(json.dumps({name: await outcomes(endpoint, metadata) for name, metadata in cases.items()}))


asyncio.run(main(*sys.argv[1:]))
