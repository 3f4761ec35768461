#!/usr/bin/env python3
"""An agent that registers itself, using only Python's standard library.

Usage: weather_agent.py ENDPOINT REGISTRY, where both are unix://PATH. The agent serves like
echo_agent.py and is registered as `weather` while it runs.
"""

import asyncio
import json
import struct
import sys
import uuid
from typing import Any

import echo_agent


async def process(city: Any) -> Any:
    return f"Sun in {city}, says Python"


async def connect(endpoint: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_unix_connection(endpoint.removeprefix("unix://"))


async def ask(registry: str, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Sends an envelope to the registry and returns the payload of its answer."""
    reader, writer = await connect(registry)
    data = json.dumps(echo_agent.envelope(kind, str(uuid.uuid4()), payload)).encode()
    writer.write(struct.pack(">I", len(data)) + data)
    (length,) = struct.unpack(">I", await reader.readexactly(4))
    answer = json.loads(await reader.readexactly(length))
    writer.close()
    if answer["type"] == "error":
        raise ConnectionError(answer["payload"]["error_message"])
    return answer["payload"]


async def stay_registered(endpoint: str, registry: str) -> None:
    """Registers the agent when it accepts connections and sends heartbeats. Retries on failure."""
    instance = {"agent_name": "weather", "endpoint": endpoint}
    while True:
        try:
            (await connect(endpoint))[1].close()
            details = {"capabilities": {"forecast": {"days": 3}}, "metadata": {}}
            lease = await ask(registry, "register", {**instance, **details})
            while True:
                await asyncio.sleep(lease["heartbeat_seconds"])
                await ask(registry, "heartbeat", {**instance, "status": "healthy"})
        except (OSError, EOFError):
            await asyncio.sleep(0.1)


async def main(endpoint: str, registry: str) -> None:
    echo_agent.process = process
    registration = asyncio.create_task(stay_registered(endpoint, registry))
    await echo_agent.main(endpoint)
    registration.cancel()
    try:
        await ask(registry, "unregister", {"agent_name": "weather", "endpoint": endpoint})
    except (OSError, EOFError):
        pass  # The registry is not available, so the lease expires.


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
