"""The machine: how many cores there are for us, work on them, and native libraries that talk too much."""

import os
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

R = TypeVar("R")


def available_cores() -> int:
    """The number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def done_ahead(work: Callable[[Any], R], items: Iterable[Any], threads: int, ahead: int) -> Iterator[R]:
    """What `work` makes of each item, in order; so many are under way at once, ahead of the one that is wanted."""
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def held_back_stderr() -> Iterator[Callable[[], str]]:
    """Keeps what native code writes to stderr: TensorFlow greets before it reads its own log level."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)

        def said() -> str:
            held.seek(0)
            return held.read().decode(errors="replace")

        try:
            yield said
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)


@contextmanager
def native_stderr_kept() -> Iterator[set[str]]:
    """Keeps what native code writes to stderr until the block ends, each line once; Python's own words go on.

    Yields:
        A set, for lines that need not be written then: they are said in other words.
    """
    own, real, known = sys.stderr, sys.__stderr__, set[str]()
    lines: list[str] = []
    with ExitStack() as stack:
        if real and own is real:
            terminal = open(os.dup(2), "w", buffering=1, encoding=real.encoding, errors=real.errors)
            sys.stderr = stack.enter_context(terminal)
        try:
            with held_back_stderr() as said:
                try:
                    yield known
                finally:
                    lines = said().splitlines()
        finally:
            sys.stderr = own
            for line in dict.fromkeys(lines):
                if line not in known:
                    print(line, file=sys.stderr)
