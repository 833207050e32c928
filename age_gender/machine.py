"""The machine: how many cores there are for us, and native libraries that talk too much."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager


def available_cores() -> int:
    """The number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
