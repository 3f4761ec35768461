#!/usr/bin/env python3
"""An agent that registers itself, on Python's standard library: weather_agent.py ENDPOINT REGISTRY

Both are unix://PATH. It serves as echo_agent.py does, and is registered as `weather` meanwhile.
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


async def tell(registry: str, kind: str, payload: dict[str, Any]) -> dict[str, Any]:
    """Sends the registry an envelope, and gives what it answers."""
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
    """Registers once calls are accepted, sends heartbeats, and begins again when one fails."""
    who = {"agent_name": "weather", "endpoint": endpoint}
    while True:
        try:
            (await connect(endpoint))[1].close()
            what = {"capabilities": {"forecast": {"days": 3}}, "metadata": {}}
            lease = await tell(registry, "register", {**who, **what})
            while True:
                await asyncio.sleep(lease["heartbeat_seconds"])
                await tell(registry, "heartbeat", {**who, "status": "healthy"})
        except (OSError, EOFError):
            await asyncio.sleep(0.1)


async def main(endpoint: str, registry: str) -> None:
    echo_agent.process = process
    keeping = asyncio.create_task(stay_registered(endpoint, registry))
    await echo_agent.main(endpoint)
    keeping.cancel()
    try:
        await tell(registry, "unregister", {"agent_name": "weather", "endpoint": endpoint})
    except (OSError, EOFError):
        pass  # It has gone first. The lease runs out.


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
