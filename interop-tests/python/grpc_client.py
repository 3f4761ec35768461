"""Calls a server of agentwire with grpcio, its health checks and its reflection: grpc_client.py HOST:PORT

Prints `ok` and the number of checks, or fails with the check that failed.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from proto import agent_pb2, agent_pb2_grpc

CALLS = 200


def request(content: str, **fields: object) -> agent_pb2.Request:
    """A request to the agent of these tests."""
    message = agent_pb2.Message(role="user", content=content)
    return agent_pb2.Request(id="7", messages=[message], **fields)


def main() -> None:
    """Runs all checks."""
    target = sys.argv[1]
    checks = 0
    with grpc.insecure_channel(target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "agenkit.AgentService"):
            state = health.Check(health_pb2.HealthCheckRequest(service=service))
            assert state.status == health_pb2.HealthCheckResponse.SERVING, state
            checks += 1
        watched = next(health.Watch(health_pb2.HealthCheckRequest()))
        assert watched.status == health_pb2.HealthCheckResponse.SERVING, watched
        try:
            health.Check(health_pb2.HealthCheckRequest(service="nothing"))
            raise AssertionError("an unknown service is healthy")
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.NOT_FOUND, error
        checks += 2

        database = ProtoReflectionDescriptorDatabase(channel)
        services = set(database.get_services())
        assert {"agenkit.AgentService", "grpc.health.v1.Health"} <= services, services
        described = DescriptorPool(database).FindServiceByName("agenkit.AgentService")
        assert set(described.methods_by_name) >= {"Process", "ProcessStream"}, described
        checks += 2

        agents = agent_pb2_grpc.AgentServiceStub(channel)
        assert agents.Process(request("42")).message.content == "42"
        assert agents.Process(request("hello")).message.content == "hello"
        try:
            list(agents.BidirectionalStream(iter([request("x")])))
            raise AssertionError("a bidirectional stream is not refused")
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED, error
        try:
            agents.Process(request("x" * (4 * 1024 * 1024)))
            raise AssertionError("a message over 4 MiB is not refused")
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, error
        checks += 4

        with ThreadPoolExecutor(32) as pool:
            contents = [f"call {number}" for number in range(CALLS)]
            replies = pool.map(lambda text: agents.Process(request(text)).message.content, contents)
            assert list(replies) == contents
        checks += CALLS
    with grpc.insecure_channel(target, compression=grpc.Compression.Gzip) as channel:
        agents = agent_pb2_grpc.AgentServiceStub(channel)
        large = "x" * 1_000_000
        assert agents.Process(request(large)).message.content == large
        checks += 1
    print("ok", checks)


if __name__ == "__main__":
    main()
