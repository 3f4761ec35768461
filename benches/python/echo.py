#!/usr/bin/env python3
"""The Python peer of the comparison: the package agenkit.

    echo.py serve ENDPOINT
    echo.py drive ENDPOINT --held [--connections N] [--in-flight N] [--size BYTES] [--stream] ...

It speaks the same lines as the Rust peers; see benches/src/server_control.rs and workload.rs.
"""

import argparse
import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from agenkit.adapters.python import LocalAgent, RemoteAgent
from agenkit.adapters.python.grpc_server import GRPCServer
from agenkit.adapters.python.http_server import HTTPAgentServer
from agenkit.interfaces import Agent, Message

CHUNKS = 1000
"""How many chunks a stream has."""


class Echo(Agent):
    """The agent."""

    @property
    def name(self) -> str:
        """Returns the name of the agent."""
        return "echo"

    async def process(self, message: Message) -> Message:
        """Answers with the same content."""
        return Message("agent", message.content)

    async def stream(self, message: Message) -> AsyncIterator[Message]:
        """Answers with the same content, CHUNKS times."""
        for _ in range(CHUNKS):
            yield Message("agent", message.content)


class Caller:
    """A caller: calls for a time or a number of times, and records latencies."""

    def __init__(self, client: RemoteAgent, text: str, stream: bool) -> None:
        self._client, self._text, self._stream = client, text, stream
        self.latency: list[int] = []
        self.answers = 0

    async def run(self, seconds: float, calls: int | None) -> None:
        """Makes `calls` calls or, if that is None, calls for `seconds`."""
        self.latency, self.answers = [], 0
        until = time.perf_counter() + seconds
        while len(self.latency) < calls if calls is not None else time.perf_counter() < until:
            started = time.perf_counter_ns()
            message = Message("user", self._text)
            if self._stream:
                async for chunk in self._client.stream(message):
                    self._check(chunk)
            else:
                self._check(await self._client.process(message))
            self.latency.append(time.perf_counter_ns() - started)

    def _check(self, answer: Message) -> None:
        if answer.content != self._text:
            raise ValueError("the answer is not the echo")
        self.answers += 1


async def line() -> str:
    """Returns the next line of standard input; empty at its end."""
    return await asyncio.to_thread(sys.stdin.readline)


def new_server(endpoint: str) -> LocalAgent | HTTPAgentServer | GRPCServer:
    """Creates the server for a carrier. HTTP and gRPC have classes of their own."""
    scheme, _, address = endpoint.partition("://")
    if scheme == "grpc":
        return GRPCServer(Echo(), address)
    if scheme == "http":
        host, _, port = address.rpartition(":")
        # By default, this server refuses more than 100 calls a second.
        return HTTPAgentServer(Echo(), host, int(port), enable_default_middleware=False)
    return LocalAgent(Echo(), endpoint=endpoint)


async def serve_until_input_ends(endpoint: str, scheme: str | None) -> None:
    """Serves the agent, with the carrier of the scheme above TCP if there is one."""
    if endpoint == "tcp://127.0.0.1:0":
        # The servers do not report the port that the system chose.
        with socket.create_server(("127.0.0.1", 0)) as probe:
            endpoint = f"{scheme or 'tcp'}://127.0.0.1:{probe.getsockname()[1]}"
    server = new_server(endpoint)
    await server.start()
    print(f"READY {endpoint}", flush=True)
    while await line():
        print("null", flush=True)  # Allocations are not counted here.
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(server.stop(), 5)


async def drive(options: argparse.Namespace) -> None:
    """Warms up, waits for a line, measures, and prints the report."""
    clients = [
        RemoteAgent("echo", endpoint=options.endpoint) for _ in range(options.connections)
    ]
    text = "x" * options.size
    callers = [
        Caller(client, text, options.stream)
        for client in clients
        for _ in range(options.in_flight)
    ]

    async def run(seconds: float, calls: int | None) -> None:
        await asyncio.gather(*(caller.run(seconds, calls) for caller in callers))

    for client in clients:
        # Until the server answers, the connection may be in the accept queue, and asyncio does not
        # wait for room there.
        await client.process(Message("user", text))
    await run(options.seconds / 5, options.warm_up_calls)
    if options.held:
        print("READY", flush=True)
        if not await line():
            return
    started, cpu = time.perf_counter(), time.process_time()
    await run(options.seconds, options.calls)
    report = {
        "seconds": time.perf_counter() - started,
        "calls": sum(len(caller.latency) for caller in callers),
        "answers": sum(caller.answers for caller in callers),
        "cpu_seconds": time.process_time() - cpu,
        "failed": 0,
        "failure": None,
        "fewest": min(len(caller.latency) for caller in callers),
        "most": max(len(caller.latency) for caller in callers),
        "latency": [(taken, 1) for caller in callers for taken in caller.latency],
    }
    print(json.dumps(report), flush=True)
    if options.held:
        await line()
    await asyncio.gather(*(client.close() for client in clients))


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    server, driver = verbs.add_parser("serve"), verbs.add_parser("drive")
    for verb in (server, driver):
        verb.add_argument("endpoint")
        verb.add_argument("--scheme")
    driver.add_argument("--connections", type=int, default=1)
    driver.add_argument("--in-flight", type=int, default=1)
    driver.add_argument("--size", type=int, default=64)
    driver.add_argument("--seconds", type=float, default=1.0)
    driver.add_argument("--calls", type=int)
    driver.add_argument("--warm-up-calls", type=int)
    for flag in ("--stream", "--separate", "--held"):
        driver.add_argument(flag, action="store_true")
    options = parser.parse_args()
    if options.verb == "drive":
        asyncio.run(drive(options))
    else:
        asyncio.run(serve_until_input_ends(options.endpoint, options.scheme))


if __name__ == "__main__":
    main()
