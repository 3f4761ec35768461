"""Endpoints (section 9): connecting to one, and listening on one."""

import asyncio
import os
import re
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_URL = re.compile(r"(?P<scheme>ws|http|h2c)://(?P<authority>[^/?#]+)(?P<path>/[!-~]*)?")
_TCP = re.compile(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<host>[^\[\]:]+)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class UnixEndpoint:
    """A Unix stream socket. The path has no escapes."""

    path: str

    def __str__(self) -> str:
        return f"unix://{self.path}"


@dataclass(frozen=True)
class TcpEndpoint:
    """A TCP port. A server may use port 0, for which the system chooses a free port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


@dataclass(frozen=True)
class WebSocketEndpoint:
    """A path of a WebSocket server."""

    host: str
    port: int
    path: str

    def __str__(self) -> str:
        return "ws" + str(TcpEndpoint(self.host, self.port)).removeprefix("tcp") + self.path


@dataclass(frozen=True)
class GrpcEndpoint:
    """A port of a gRPC server."""

    host: str
    port: int

    def __str__(self) -> str:
        return "grpc" + str(TcpEndpoint(self.host, self.port)).removeprefix("tcp")


@dataclass(frozen=True)
class HttpEndpoint:
    """The path in front of the routes of an HTTP server. The scheme is `http` or `h2c`."""

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        authority = str(TcpEndpoint(self.host, self.port)).removeprefix("tcp")
        return self.scheme + authority + self.path


Endpoint = UnixEndpoint | TcpEndpoint | WebSocketEndpoint | HttpEndpoint | GrpcEndpoint


def parse_endpoint(text: str) -> Endpoint:
    """Parses `unix://PATH`, `tcp://HOST:PORT`, `grpc://HOST:PORT`, or a URL with the scheme `ws`,
    `http` or `h2c`.

    Raises ValueError for any other text.
    """
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "unix" and rest:
        return UnixEndpoint(rest)
    if separator and scheme in ("tcp", "grpc"):
        match = _TCP.fullmatch(rest)
        if match and int(match["port"]) <= 65535:
            kind = TcpEndpoint if scheme == "tcp" else GrpcEndpoint
            return kind(match["ipv6"] or match["host"], int(match["port"]))
    if url := _URL.fullmatch(text):
        match = _TCP.fullmatch(url["authority"])
        if match and int(match["port"]) <= 65535:
            host, port = match["ipv6"] or match["host"], int(match["port"])
            if url["scheme"] == "ws":
                return WebSocketEndpoint(host, port, url["path"] or "")
            return HttpEndpoint(url["scheme"], host, port, url["path"] or "")
    raise ValueError(
        f"not an endpoint: {text!r} (expected unix://PATH, tcp://HOST:PORT, grpc://HOST:PORT, or"
        " ws, http or h2c://HOST:PORT/PATH)"
    )


async def open_connection(text: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects to an endpoint."""
    endpoint = parse_endpoint(text)
    if isinstance(endpoint, UnixEndpoint):
        return await asyncio.open_unix_connection(endpoint.path)
    if isinstance(endpoint, WebSocketEndpoint | HttpEndpoint | GrpcEndpoint):
        raise ValueError(f"{text} needs another AGENTWIRE_PEER")
    if endpoint.port == 0:
        raise ValueError(f"not an endpoint for a client: {text!r} (port 0)")
    return await asyncio.open_connection(endpoint.host, endpoint.port)


class BoundSocket:
    """A socket that is bound to an endpoint, and its socket file if there is one."""

    def __init__(self, text: str) -> None:
        endpoint = parse_endpoint(text)
        self._file: tuple[str, os.stat_result] | None = None
        if isinstance(endpoint, UnixEndpoint):
            self.socket = _bind_unix(endpoint.path)
            self.endpoint = str(endpoint)
            self._file = endpoint.path, os.lstat(endpoint.path)
        elif isinstance(endpoint, WebSocketEndpoint | HttpEndpoint | GrpcEndpoint):
            raise ValueError(f"{text} needs another AGENTWIRE_PEER")
        else:
            self.socket = _bind_tcp(endpoint)
            self.endpoint = str(TcpEndpoint(endpoint.host, self.socket.getsockname()[1]))

    def remove_file(self) -> None:
        """Removes the socket file, if it is still the one that this socket created."""
        if self._file is None:
            return
        path, created = self._file
        try:
            if os.path.samestat(os.lstat(path), created):
                os.unlink(path)
        except FileNotFoundError:
            pass  # asyncio removes the file itself from Python 3.13 on.


def _bind_tcp(endpoint: TcpEndpoint) -> socket.socket:
    # Only the first address: a name with several would get a different free port on each.
    found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    family, _, _, _, address = found[0]
    return socket.create_server(address[:2], family=family)


def _bind_unix(path: str) -> socket.socket:
    with _umask(0o077):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    _remove_stale_file(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _umask(0o177):  # Mode 0600 from the first instant.
            listener.bind(path)
    except OSError:
        listener.close()
        raise
    return listener


def _remove_stale_file(path: str) -> None:
    """Removes a socket file on which no server answers; raises OSError for any other file."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path} exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # A server is listening, and its queue is full.
    raise FileExistsError(f"a server answers on {path}")


@contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
