"""agentwire_peer, the implementation that lives next to these tests."""

from agentwire_peer import connect, serve

__all__ = ["CLIENT_RECONNECTS", "REPORTS_CODES", "connect", "serve"]

REPORTS_CODES = True
CLIENT_RECONNECTS = True
