#!/usr/bin/env python3
"""Calls an agent through several doors: call_doors.py ENDPOINT...

Uses the package agenkit for all doors if it is installed. Otherwise, uses Python's standard library
for unix, tcp and http, and says which doors need the package.
"""

import asyncio
import json
import sys
import urllib.request
from collections.abc import Iterator
from typing import Any

from call_agent import call, connect


async def with_agenkit(endpoint: str, text: str) -> tuple[str, int]:
    """Returns the reply and the number of chunks of a stream."""
    from agenkit.adapters.python import RemoteAgent
    from agenkit.interfaces import Message

    agent = RemoteAgent("shout", endpoint=endpoint)
    reply = await agent.process(Message("user", text))
    chunks = [chunk async for chunk in agent.stream(Message("user", text))]
    await agent.close()
    return str(reply.content), len(chunks)


def with_standard_library(endpoint: str, text: str) -> tuple[str, int]:
    """Returns the reply and the number of chunks of a stream."""
    if endpoint.startswith("http://"):
        (reply,) = post(endpoint, "process", text)
        return reply, len(list(post(endpoint, "stream", text)))
    (reply,) = call(connect(endpoint), "process", text)
    return reply, len(list(call(connect(endpoint), "stream", text)))


def post(endpoint: str, method: str, text: str) -> Iterator[Any]:
    """Sends one request over HTTP and yields the content of the reply or of each chunk."""
    body = json.dumps({"payload": {"message": {"role": "user", "content": text}}}).encode()
    with urllib.request.urlopen(f"{endpoint}/{method}", data=body) as response:
        if method == "process":
            yield json.load(response)["payload"]["message"]["content"]
            return
        for line in response:
            if line.startswith(b"data: "):
                event = json.loads(line.removeprefix(b"data: "))
                if event["type"] == "stream_chunk":
                    yield event["payload"]["message"]["content"]


def main() -> None:
    """Calls through each door and prints a line for it."""
    try:
        import agenkit.adapters.python  # noqa: F401

        has_agenkit = True
    except ImportError:
        has_agenkit = False
    for endpoint in sys.argv[1:]:
        scheme = endpoint.partition("://")[0]
        text = f"hello through {scheme}"
        if has_agenkit:
            reply, count = asyncio.run(with_agenkit(endpoint, text))
            print(f"{scheme}: {reply} ({count} chunks, with agenkit)")
        elif scheme in ("unix", "tcp", "http"):
            reply, count = with_standard_library(endpoint, text)
            print(f"{scheme}: {reply} ({count} chunks, with the standard library)")
        else:
            print(f"{scheme}: not called; install the package agenkit")


if __name__ == "__main__":
    main()
