#!/usr/bin/env python3
"""Runs interop cases as a client: call.py [--strict] [--list] [--codec FORMAT] [ENDPOINT] [CASE ...]

Calls the server at ENDPOINT (unix://PATH, or one of tcp, ws, http, h2c and grpc with ://HOST:PORT),
which must run the interop agent that serve.py defines. Prints one line per case, `ok CASE` or `FAIL
CASE: REASON`. A case fails if it takes longer than 150 seconds. Without CASE, runs all cases that
need no help. Exits with 0 if all cases passed, with 1 if any failed, with 2 on wrong usage. The
environment variable AGENTWIRE_PEER selects the implementation: `own` (the default), `agenkit`,
`aiohttp-http`, or for WebSocket `websockets`, `aiohttp` or `wsproto`.

--list prints the names of all cases instead, and takes no ENDPOINT. --strict selects only the cases
that need an agentwire server, because other servers answer differently; it applies to --list and to
a run without CASE.

--codec selects the format of the requests: json (the default) or msgpack.

Two cases need help. `no_streaming` needs a server with the agent `mute`. `server_restart` prints
the line RESTART and then waits for a line on standard input. The caller writes that line when the
server was stopped and another server accepts connections at the same ENDPOINT.
"""

import argparse
import asyncio
import signal
import sys

from agentwire_peer import CodecError, JsonCodec, MsgpackCodec
from agentwire_peer.endpoints import parse_endpoint
from backends import BackendError, load
from cases import CASES, CaseFailed, Target
from stdio import discard_stdout, say

CASE_SECONDS = 150.0
CODECS = {"json": JsonCodec, "msgpack": MsgpackCodec}


async def run(target: Target, names: list[str]) -> bool:
    """Runs cases one after the other; returns true if all passed."""
    failures = [await run_case(target, name) for name in names]
    return not any(failures)


async def run_case(target: Target, name: str) -> bool:
    """Runs one case and prints its line; returns true if it failed."""
    try:
        await asyncio.wait_for(CASES[name].run(target), CASE_SECONDS)
    except asyncio.TimeoutError:
        reason = f"not done within {CASE_SECONDS:g} seconds"
    except CaseFailed as error:
        reason = str(error)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
    else:
        say(f"ok {name}")
        return False
    say(f"FAIL {name}: {one_line(reason)}")
    return True


def one_line(text: str) -> str:
    """Returns a text as one line of printable ASCII."""
    return "".join(c if " " <= c <= "~" else ascii(c)[1:-1] for c in text)


def main() -> int:
    """Runs the command line and returns the exit status."""
    summary, _, rest = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        usage=summary.partition(": ")[2],
        epilog=rest,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", nargs="?", help="the server to call")
    parser.add_argument("cases", metavar="CASE", nargs="*", help="the cases to run")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument("--strict", action="store_true", help="only cases for agentwire servers")
    parser.add_argument("--codec", choices=CODECS, default="json", help="the format to write")
    arguments = parser.parse_args()

    chosen = [name for name, case in CASES.items() if case.strict or not arguments.strict]
    if arguments.list:
        print(*chosen, sep="\n", flush=True)
        return 0
    if arguments.endpoint is None:
        parser.error("an ENDPOINT is needed")
    if unknown := [name for name in arguments.cases if name not in CASES]:
        parser.error(f"unknown cases: {', '.join(unknown)} (--list prints those that exist)")
    try:
        parse_endpoint(arguments.endpoint)
        target = Target(load(), arguments.endpoint, CODECS[arguments.codec]())
    except (ValueError, BackendError, CodecError) as error:
        parser.error(str(error))
    names = arguments.cases or [name for name in chosen if not CASES[name].needs_help]
    return 0 if asyncio.run(run(target, names)) else 1


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ends the process without a traceback.
    try:
        sys.exit(main())
    except BrokenPipeError:
        discard_stdout()
        sys.exit(1)
