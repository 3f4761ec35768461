"""A small, independent implementation of PROTOCOL.md on Python's standard library, and the package
msgpack for MessagePack.

It is the other side of the interop tests: one agent per server, answers in the order of the
requests, one call at a time on a client. Rules are named by their numbers in PROTOCOL.md.
"""

from .client import Client, RemoteError, connect
from .server import Agent, Server, StreamingAgent, serve
from .wire import Codec, CodecError, JsonCodec, Message, MsgpackCodec, ProtocolError

__all__ = [
    "Agent",
    "Client",
    "Codec",
    "CodecError",
    "JsonCodec",
    "Message",
    "MsgpackCodec",
    "ProtocolError",
    "RemoteError",
    "Server",
    "StreamingAgent",
    "connect",
    "serve",
]
