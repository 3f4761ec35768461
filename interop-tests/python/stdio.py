"""Standard input without blocking, and output that may be cut off."""

import asyncio
import os
import sys
import threading
from contextlib import suppress

_STDIN = 0


async def stdin_line() -> bool:
    """Waits for a line on standard input; false if the input ends before it.

    A thread does the reading, because an event loop can wait for pipes but not for every kind of
    file that standard input may be. The thread does not keep the process alive.
    """
    loop = asyncio.get_running_loop()
    result: asyncio.Future[bool] = loop.create_future()

    def finish(found: bool) -> None:
        if not result.done():
            result.set_result(found)

    def run() -> None:
        found = _read_line()
        with suppress(RuntimeError):  # The loop has ended meanwhile.
            loop.call_soon_threadsafe(finish, found)

    threading.Thread(target=run, daemon=True).start()
    return await result


async def stdin_end() -> None:
    """Waits for the end of standard input."""
    while await stdin_line():
        pass


def say(line: str) -> None:
    """Prints a line at once; raises BrokenPipeError if nobody can read it any more."""
    print(line, flush=True)


def give_up_stdout() -> None:
    """Drops what is still to be printed, so that the interpreter's exit does not fail on it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _read_line() -> bool:
    # Not by sys.stdin: the interpreter's exit would wait for the lock that a read of it holds.
    try:
        while byte := os.read(_STDIN, 1):
            if byte == b"\n":
                return True
    except OSError:
        pass  # Closed from the start.
    return False
