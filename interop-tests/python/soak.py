#!/usr/bin/env python3
"""Calls a server under failures: soak.py [--codec FORMAT] [--calls N] [--seed N] ENDPOINT

The server at ENDPOINT must run the interop agent that serve.py defines. Four callers make calls of
every kind until a line arrives on standard input, and at least N calls altogether. Connections may
break at any time, but each reply must belong to its request. At the end, prints one line `COUNT
OUTCOME` for each outcome, and then `ok`. Exits with 1 on a wrong reply, on a call that does not end,
and if file descriptors or tasks are left over.
"""

import argparse
import asyncio
import gc
import os
import random
import sys
from collections import Counter
from typing import Any

from agentwire_peer import JsonCodec, Message, MsgpackCodec, RemoteError
from agentwire_peer.client import Client
from stdio import say, stdin_end, stdin_line

CODECS = {"json": JsonCodec, "msgpack": MsgpackCodec}
CALLERS = 4
HANG_SECONDS = 60.0
"""How much longer than its own limit a call may take."""


class WrongReply(Exception):
    """A reply that does not belong to its request."""


class Soak:
    """The callers, and what they have seen."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self.outcomes: Counter[str] = Counter()
        self.calls = 0
        self.is_over = False

    async def call_until_over(self, caller: int) -> None:
        """Makes one call after the other on one client."""
        choice = random.Random(f"{self._arguments.seed} {caller}")
        codec = CODECS[self._arguments.codec]()
        client = Client(self._arguments.endpoint, codec=codec)
        try:
            number = 0
            while not self.is_over or self.calls < self._arguments.calls:
                number += 1
                self.calls += 1
                outcome = await self._call(client, f"call {number} of caller {caller}", choice)
                self.outcomes[outcome] += 1
        finally:
            await client.close()

    async def _call(self, client: Client, text: str, choice: random.Random) -> str:
        limit = choice.choice([0.005, 0.05, 1.0, 1.0])
        metadata: dict[str, Any] = {"pad": "ä" * choice.choice([0, 10, 1000])}
        kind = choice.randrange(10)
        try:
            if kind == 0:
                count = choice.randrange(5)
                call = self._stream(client, text, metadata | {"count": count})
            elif kind == 1:
                call = self._fail(client, text)
            elif kind == 2:
                call = self._echo(client, text, metadata | {"do": "slow", "ms": 5})
            else:
                call = self._echo(client, text, metadata)
            task = asyncio.ensure_future(call)
            done, _ = await asyncio.wait({task}, timeout=limit)
            if done:
                return task.result()
            task.cancel()
            done, _ = await asyncio.wait({task}, timeout=HANG_SECONDS)
            if not done:
                raise WrongReply(f"{text} does not end")
            return "timed out" if task.cancelled() else task.result()
        except (OSError, EOFError) as error:
            return type(error).__name__

    async def _echo(self, client: Client, text: str, metadata: dict[str, Any]) -> str:
        reply = await client.process(Message("user", text, metadata))
        if (reply.content, reply.metadata) != (text, metadata):
            raise WrongReply(f"{text} with {metadata} got {reply}")
        return "answered"

    async def _fail(self, client: Client, text: str) -> str:
        try:
            reply = await client.process(Message("user", text, {"do": "fail"}))
        except RemoteError as error:
            if error.message != f"deliberate failure: {text}":
                raise WrongReply(f"{text} failed with {error}") from error
            return "failed as asked"
        raise WrongReply(f"{text} got {reply}")

    async def _stream(self, client: Client, text: str, metadata: dict[str, Any]) -> str:
        number = 0
        async for chunk in client.stream(Message("user", text, metadata)):
            if (chunk.content, chunk.metadata) != (f"{text} #{number}", {"i": number}):
                raise WrongReply(f"chunk {number} of {text} is {chunk}")
            number += 1
        if number != metadata["count"]:
            raise WrongReply(f"{text} got {number} chunks")
        return "streamed"


def open_files() -> int:
    """Returns the number of open file descriptors. Only Linux counts them."""
    try:
        return len(os.listdir("/proc/self/fd"))
    except FileNotFoundError:
        return 0


async def soak(arguments: argparse.Namespace) -> None:
    """Runs the callers and prints what they have seen."""
    state = Soak(arguments)
    files, tasks = open_files(), len(asyncio.all_tasks())
    callers = [asyncio.ensure_future(state.call_until_over(caller)) for caller in range(CALLERS)]
    finish = asyncio.ensure_future(stdin_line())
    await asyncio.wait({finish, *callers}, return_when=asyncio.FIRST_COMPLETED)
    state.is_over = True
    await asyncio.gather(*callers)
    await finish
    # Transports close their sockets in a later turn of the loop.
    for _ in range(100):
        gc.collect()
        await asyncio.sleep(0.01)
        left = open_files() - files, len(asyncio.all_tasks()) - tasks
        if left[0] <= 0 and left[1] <= 0:
            break
    else:
        raise RuntimeError(f"left over: {left[0]} file descriptors, {left[1]} tasks")
    for outcome, count in sorted(state.outcomes.items()):
        say(f"{count} {outcome}")
    say("ok")
    await stdin_end()


def main() -> int:
    """Runs the command line and returns the exit status."""
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        usage=summary.partition(": ")[2],
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", help="the server to call")
    parser.add_argument("--codec", choices=CODECS, default="json", help="the format to write")
    parser.add_argument("--calls", type=int, default=1000, help="how many calls to make at least")
    parser.add_argument("--seed", type=int, default=0, help="the seed of all choices")
    asyncio.run(soak(parser.parse_args()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
