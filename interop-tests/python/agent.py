"""The interop agent, which the docstring of serve.py defines."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from agentwire_peer import Message


class MuteAgent:
    """The interop agent without streaming."""

    name = "mute"

    async def process(self, message: Message) -> Message:
        """Behaves as `metadata["do"]` selects."""
        do = message.metadata.get("do", "echo")
        if do == "fail":
            raise RuntimeError(f"deliberate failure: {message.content}")
        if do == "slow":
            await asyncio.sleep(int(message.metadata["ms"]) / 1000)
        elif do != "echo":
            raise ValueError(f"unknown behaviour: {do}")
        return Message("agent", message.content, message.metadata)


class InteropAgent(MuteAgent):
    """The interop agent."""

    name = "interop"

    async def stream(self, message: Message) -> AsyncGenerator[Message, None]:
        """Streams `metadata["count"]` chunks, or fails after `metadata["fail_after"]` of them."""
        # gRPC carries metadata as text.
        count = int(message.metadata.get("count", 3))
        fail_after = int(message.metadata.get("fail_after", count + 1))
        for i in range(min(count, fail_after)):
            yield Message("agent", _numbered(message.content, i), {"i": i})
        if fail_after <= count:
            raise RuntimeError(f"deliberate failure after {fail_after}")


def _numbered(content: Any, i: int) -> Any:
    return f"{content} #{i}" if isinstance(content, str) else content
