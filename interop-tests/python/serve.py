#!/usr/bin/env python3
"""Serves the interop agent: serve.py [--no-stream] ENDPOINT

ENDPOINT is unix://PATH or tcp://HOST:PORT, port 0 for a free one. Prints one line, `READY
ENDPOINT` with the port in it, once it accepts connections; then serves until SIGTERM, SIGINT or the
end of its standard input, removes its socket file and exits with 0. Exits with 1 if it cannot
listen, with 2 on wrong usage. The environment variable AGENTWIRE_PEER chooses the implementation:
`own` (the default) or `agenkit`.

The interop agent, which the Rust side serves in the same way:

- Its name is `interop`.
- `process` does what the text in `metadata["do"]` says; without one it echoes.
    - `echo`: the reply has role `agent`, and content and metadata as they came.
    - `fail`: fails with the text `deliberate failure: CONTENT`.
    - `slow`: waits `metadata["ms"]` milliseconds, then echoes.
    - anything else: fails with the text `unknown behaviour: DO`.
- `stream` does not look at `metadata["do"]`. It gives N chunks, N being `metadata["count"]`, or 3
  without it. Chunk i, counted from 0, has role `agent`, metadata `{"i": i}`, and as content the
  text `CONTENT #i` if the content that came is text, else the content as it came.
- With `metadata["fail_after"]` = K, K being N at most, `stream` fails after K chunks with the text
  `deliberate failure after K`. A larger K changes nothing.

With --no-stream the agent has the name `mute` and the same `process`, but cannot stream.
"""

import argparse
import asyncio
import signal
import sys

from agent import InteropAgent, MuteAgent
from agentwire_peer.endpoints import parse_endpoint
from backends import Backend, BackendError, load
from stdio import give_up_stdout, say, stdin_end


async def serve(backend: Backend, endpoint: str, streams: bool) -> None:
    """Serves until it is told to stop."""
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
    """Reads the command line; returns the exit status."""
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        usage=summary.partition(": ")[2],
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", help="unix://PATH or tcp://HOST:PORT")
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
        give_up_stdout()
        return 1
    except OSError as error:
        print(f"serve.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
