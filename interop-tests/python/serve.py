#!/usr/bin/env python3
"""Serves the interop agent: serve.py [--no-stream] ENDPOINT

ENDPOINT is unix://PATH, or one of tcp, ws, http, h2c and grpc with ://HOST:PORT; port 0 selects a
free port. Prints the line `READY ENDPOINT`, with the chosen port, once the server accepts
connections. Then serves until SIGTERM, SIGINT or the end of standard input, removes the socket file
and exits with 0. Exits with 1 if the server cannot listen, with 2 on wrong usage. The environment
variable AGENTWIRE_PEER selects the implementation: `own` (the default), `agenkit`, `aiohttp-http`,
or for WebSocket `websockets`, `aiohttp` or `wsproto`.

The interop agent behaves as follows, in Rust too:

- Its name is `interop`.
- `metadata["do"]` selects what `process` does; the default is `echo`.
    - `echo`: replies with the role `agent`, and with content and metadata unchanged.
    - `fail`: fails with the text `deliberate failure: CONTENT`.
    - `slow`: waits `metadata["ms"]` milliseconds, then echoes.
    - any other text: fails with the text `unknown behaviour: DO`.
- `stream` ignores `metadata["do"]`. It sends N chunks, where N is `metadata["count"]`, by default
  3. Chunk i, counted from 0, has the role `agent` and the metadata `{"i": i}`. Its content is the
  text `CONTENT #i` if the content of the request is text, else the content unchanged.
- If `metadata["fail_after"]` is K and K is at most N, `stream` fails after K chunks with the text
  `deliberate failure after K`. A larger K has no effect.

With --no-stream the agent has the name `mute` and the same `process`, but cannot stream.
"""

import argparse
import asyncio
import signal
import sys

from agent import InteropAgent, MuteAgent
from agentwire_peer.endpoints import parse_endpoint
from backends import Backend, BackendError, load
from stdio import discard_stdout, say, stdin_end


async def serve(backend: Backend, endpoint: str, streams: bool) -> None:
    """Serves until a signal or the end of standard input."""
    stop = asyncio.ensure_future(stdin_end())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.cancel)
    server = await backend.serve(InteropAgent() if streams else MuteAgent(), endpoint)
    try:
        say(f"READY {server.endpoint}")
        await asyncio.wait({stop})
    finally:
        await server.close()


def main() -> int:
    """Runs the command line and returns the exit status."""
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        usage=summary.partition(": ")[2],
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", help="where to serve")
    parser.add_argument(
        "--no-stream", action="store_true", help="serve an agent that cannot stream"
    )
    arguments = parser.parse_args()
    try:
        parse_endpoint(arguments.endpoint)
        backend = load()
    except (ValueError, BackendError) as error:
        parser.error(str(error))
    try:
        asyncio.run(serve(backend, arguments.endpoint, not arguments.no_stream))
    except BrokenPipeError:
        discard_stdout()
        return 1
    except OSError as error:
        print(f"serve.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
