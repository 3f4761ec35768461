#!/usr/bin/env python3
"""Serves an agent of agenkit with its tracing middleware: traced.py ENDPOINT NEXT COLLECTOR

ENDPOINT is tcp://, ws://, http:// or grpc:// with port 0. The agent `relay` calls the agent at NEXT,
whose carrier is the same, and sends the trace context of its own span with the call. All spans go to
the collector at the URL COLLECTOR. Prints `READY ENDPOINT`, and serves until the end of standard input.
"""

import asyncio
import json
import logging
import socket
import sys
from dataclasses import replace

from agenkit.adapters.python import LocalAgent, RemoteAgent
from agenkit.adapters.python.grpc_server import GRPCServer
from agenkit.adapters.python.http_server import HTTPAgentServer
from agenkit.interfaces import Agent, Message
from agenkit.observability.tracing import TracingMiddleware, inject_trace_context
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from stdio import say, stdin_end

logging.getLogger("agenkit").addHandler(logging.NullHandler())


class Relay(Agent):
    """Calls another agent within the current span."""

    name = "relay"
    capabilities: list[str] = []

    def __init__(self, target: RemoteAgent) -> None:
        self._target = target

    async def process(self, message: Message) -> Message:
        """Passes the content on, and returns the content of the reply."""
        metadata = inject_trace_context({})
        request = Message(role="user", content=message.content, metadata=metadata)
        reply = await self._target.process(request)
        return Message(role="agent", content=reply.content)


class Decoded(Agent):
    """Reads the trace context that gRPC carries as JSON, because the middleware ignores text."""

    name = "relay"
    capabilities: list[str] = []

    def __init__(self, traced: TracingMiddleware) -> None:
        self._traced = traced

    async def process(self, message: Message) -> Message:
        """Passes the message on."""
        context = message.metadata.get("trace_context")
        if isinstance(context, str):
            metadata = {**message.metadata, "trace_context": json.loads(context)}
            message = replace(message, metadata=metadata)
        return await self._traced.process(message)


async def main(endpoint: str, target: str, collector: str) -> None:
    """Serves until the end of standard input."""
    provider = TracerProvider(resource=Resource({SERVICE_NAME: "python"}))
    exporter = OTLPSpanExporter(endpoint=f"{collector}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    agent = Decoded(TracingMiddleware(Relay(RemoteAgent("echo", endpoint=target))))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    scheme = endpoint.partition("://")[0]
    endpoint = f"{scheme}://127.0.0.1:{port}"
    server: LocalAgent | GRPCServer | HTTPAgentServer
    if scheme == "grpc":
        server = GRPCServer(agent, f"127.0.0.1:{port}")
    elif scheme == "http":
        server = HTTPAgentServer(agent, "127.0.0.1", port)
    else:
        server = LocalAgent(agent, endpoint=endpoint)
    await server.start()
    say(f"READY {endpoint}")
    await stdin_end()
    await server.stop()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
