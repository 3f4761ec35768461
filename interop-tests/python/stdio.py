"""Non-blocking standard input, and standard output that the reader may close."""

import asyncio
import os
import sys
import threading
from contextlib import suppress

_STDIN = 0


async def stdin_line() -> bool:
    """Waits for a line on standard input; returns false if the input ends first.

    A daemon thread reads the line, because an event loop can wait for pipes but not for every kind
    of file that standard input may be.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[bool] = loop.create_future()

    def finish(found: bool) -> None:
        if not result.done():
            result.set_result(found)

    def run() -> None:
        found = _read_line()
        with suppress(RuntimeError):  # The loop has already closed.
            loop.call_soon_threadsafe(finish, found)

    threading.Thread(target=run, daemon=True).start()
    return await result


async def stdin_end() -> None:
    """Waits for the end of standard input."""
    while await stdin_line():
        pass


def say(line: str) -> None:
    """Prints a line without buffering; raises BrokenPipeError if the reader has closed the pipe."""
    print(line, flush=True)


def discard_stdout() -> None:
    """Discards buffered output, so that the interpreter does not fail to flush it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _read_line() -> bool:
    # os.read, because a pending read of sys.stdin holds a lock that blocks the interpreter's exit.
    try:
        while byte := os.read(_STDIN, 1):
            if byte == b"\n":
                return True
    except OSError:
        pass  # Standard input was closed from the start.
    return False
