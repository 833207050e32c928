"""The machine: how many cores there are for us, work on them, and native libraries that talk too much."""

import io
import os
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

R = TypeVar("R")


QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of all cores, or max, in so many


def available_cores() -> int:
    """The number of cores this process may use: those that it may run on, and no more than its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no container, or no quota
        quota, period = map(int, QUOTA.read_text().split())
        cores = min(cores, max(1, -(-quota // period)))
    return cores


def done_ahead(work: Callable[[Any], R], items: Iterable[Any], threads: int, ahead: int) -> Iterator[R]:
    """What `work` makes of each item, in order; up to `ahead` items are worked on before they are asked for."""
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
    with ExitStack() as stack:
        try:
            terminal = os.dup(2)
            stack.callback(os.close, terminal)
            held = stack.enter_context(tempfile.TemporaryFile())
        except OSError:  # a program without a console has no stderr, a read-only container nowhere to write
            yield lambda: ""
            return
        if sys.stderr:
            sys.stderr.flush()
        os.dup2(held.fileno(), 2)
        stack.callback(os.dup2, terminal, 2)

        def said() -> str:
            held.seek(0)
            return held.read().decode(errors="replace")

        yield said


_opencv = threading.RLock()


@contextmanager
def silent_opencv() -> Iterator[None]:
    """Keeps back what OpenCV itself says on stderr, in one thread at a time."""
    import cv2  # here, since --help needs none of it

    logging = getattr(cv2.utils, "logging", cv2)  # OpenCV 5 moved it
    with _opencv:
        level = logging.getLogLevel()
        logging.setLogLevel(0)
        try:
            yield
        finally:
            logging.setLogLevel(level)


# Control characters of a file's name, but for the line's end and the tabulator, would command the terminal.
SHOWN = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160)) if chr(code) != "\r"}


class Stderr(io.TextIOWrapper):
    """A stderr, with another stream's encoding, that ends no run because it cannot be written, as on a full disk: what
    is said then goes to stdout, but for progress, of which the next replaces the last."""

    def __init__(self, like: Any):
        file = open(os.dup(2), "wb", buffering=0)  # which stays the terminal's while native code's words are kept
        super().__init__(file, like.encoding, like.errors, write_through=True)

    def write(self, text: str) -> int:
        text = text.translate(SHOWN)
        try:
            return super().write(text)
        except OSError:
            if "\r" not in text and sys.__stdout__:
                with suppress(OSError):
                    print(text, end="", file=sys.__stdout__, flush=True)
            return len(text)


MOST_WORDS = 1 << 16  # bytes of native code's that are looked at


def native_stderr_size() -> int | None:
    """How many bytes native code has written to stderr since it is kept by `native_lines`, in whatever thread; None
    where it is not."""
    return os.fstat(2).st_size if _kept.threads else None


def native_stderr_from(size: int | None) -> bytes:
    """What native code has written to stderr since `native_stderr_size` gave that size; nothing where it is not kept,
    or, as on Windows, cannot be read while it is written."""
    return os.pread(2, MOST_WORDS, size) if size is not None and _kept.threads and hasattr(os, "pread") else b""


class _Kept:
    """Native code's stderr in a file, while some thread of this process keeps it; Python's own words go on."""

    lock = threading.Lock()
    threads = 0

    def begin(self) -> None:
        own, self.stack = sys.stderr, ExitStack()
        self.stack.callback(setattr, sys, "stderr", own)
        if own is not None and own is sys.__stderr__:
            sys.stderr = self.stack.enter_context(Stderr(own))
        self.said = self.stack.enter_context(held_back_stderr())

    def end(self) -> list[str]:
        with self.stack:
            return self.said().splitlines()


_kept = _Kept()


@contextmanager
def native_lines() -> Iterator[list[str]]:
    """Keeps what native code writes to stderr until the block ends, in whatever thread; Python's own words go on.

    Yields:
        A list, to which the lines go at the end. Where several threads keep it at once, all go to the last of them.
    """
    lines: list[str] = []
    with _kept.lock:
        if not _kept.threads:
            _kept.begin()
        _kept.threads += 1
    try:
        yield lines
    finally:
        with _kept.lock:
            _kept.threads -= 1
            if not _kept.threads:
                lines += _kept.end()


@contextmanager
def native_stderr_kept() -> Iterator[set[str]]:
    """Keeps what native code writes to stderr, and writes each line once when the block ends.

    Yields:
        A set, for lines that need not be written then: they are said in other words.
    """
    known = set[str]()
    lines: list[str] = []
    try:
        with native_lines() as lines:
            yield known
    finally:
        for line in dict.fromkeys(lines):
            if line not in known:
                print(line, file=sys.stderr)
