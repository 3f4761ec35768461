"""A small, independent implementation of PROTOCOL.md.

It uses Python's standard library, and the package msgpack for MessagePack. The interop tests run it
against Rust. A server has one agent and answers requests in their order; a client makes one call at
a time. Docstrings cite PROTOCOL.md by section or rule.
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
