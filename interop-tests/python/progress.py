#!/usr/bin/env python3
"""Streams from an agent that reports its progress, as agenkit's client sees it: progress.py ENDPOINT

Prints one line of JSON with the role, the content and the metadata of each chunk.
"""

import asyncio
import json
import sys

from agenkit.adapters.python import RemoteAgent
from agenkit.interfaces import Message


async def main(endpoint: str) -> None:
    """Prints all chunks."""
    agent = RemoteAgent("index", endpoint=endpoint)
    async for chunk in agent.stream(Message(role="user", content="docs")):
        print(json.dumps([chunk.role, chunk.content, chunk.metadata]))
    await agent.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
