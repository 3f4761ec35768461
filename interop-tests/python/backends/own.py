"""The backend of agentwire_peer, the implementation of these tests."""

from agentwire_peer import connect, serve

__all__ = ["CLIENT_RECONNECTS", "REPORTS_CODES", "connect", "serve"]

REPORTS_CODES = True
CLIENT_RECONNECTS = True
