"""Serves an echo with grpcio, with health checks and reflection, until standard input ends: grpc_server.py

Prints `READY grpc://HOST:PORT`.
"""

import sys
from collections.abc import Iterator
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from proto import agent_pb2, agent_pb2_grpc


class Echo(agent_pb2_grpc.AgentServiceServicer):
    """Repeats messages, and answers the content `unavailable` with a status."""

    def Process(  # noqa: N802
        self, request: agent_pb2.Request, context: grpc.ServicerContext
    ) -> agent_pb2.Response:
        """Repeats a message."""
        message = request.messages[0]
        if message.content == "unavailable":
            context.abort(grpc.StatusCode.UNAVAILABLE, "out of order")
        if message.content == "unknown":
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "100 % wrong: é")
        return agent_pb2.Response(id=request.id, type=1, message=message)

    def ProcessStream(  # noqa: N802
        self, request: agent_pb2.Request, context: grpc.ServicerContext
    ) -> Iterator[agent_pb2.StreamChunk]:
        """Repeats a message three times, and forgets the end if it is told to."""
        message = request.messages[0]
        for _ in range(3):
            yield agent_pb2.StreamChunk(id=request.id, type=1, message=message)
        if message.content != "endless":
            yield agent_pb2.StreamChunk(id=request.id, type=2)


def main() -> None:
    """Serves until standard input ends."""
    server = grpc.server(futures.ThreadPoolExecutor(8), compression=grpc.Compression.Gzip)
    agent_pb2_grpc.add_AgentServiceServicer_to_server(Echo(), server)
    checks = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    checks.set("agenkit.AgentService", health_pb2.HealthCheckResponse.SERVING)
    names = ("agenkit.AgentService", health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"READY grpc://127.0.0.1:{port}", flush=True)
    sys.stdin.read()
    server.stop(grace=None)


if __name__ == "__main__":
    main()
