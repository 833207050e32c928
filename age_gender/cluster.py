"""Work on the workers of a Dask scheduler, block by block, with the answers in order; `pip install .[dask]`.

What is sent is the name of a function of the suite and its arguments, never code: scheduler and workers import it.
"""

import asyncio
import functools
import logging
import os
import re
import socket
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from age_gender import __version__
from age_gender.cli import stops_put_off
from age_gender.machine import done_ahead, native_lines

BLOCK = 256  # photos that a worker gets at a time; of fewer, the way there and back costs more
SEARCHED = 32  # photos that one is to search for faces: that takes so long that the way costs nothing
ANSWERS = 10  # seconds within which a scheduler must answer and have a worker
NOBODY = 60  # seconds without a worker after which nothing more is waited for
PARTS = 16  # of a block that ended its worker
TRIES = 1  # more, where a worker ends: its death may be another's fault
LOCAL = "local"
# What its workers run first: a terminal sends Ctrl-C to them too, and each would print a trace.
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"

R = TypeVar("R")


@contextmanager
def connected(address: str | None, module: str, workers: int) -> Iterator[Any]:
    """A client of a scheduler whose workers can import a module of the suite; None where no scheduler is named.

    Args:
        address: such as tcp://192.0.2.1:8786; "local" starts a scheduler and workers on this machine.
        module: what the workers shall run is in.
        workers: how many processes "local" starts.

    Raises:
        ValueError: if Dask is missing, no scheduler or worker answers, or one lacks the suite or has another version.
    """
    if address is None:
        yield None
        return
    if address != LOCAL and not re.fullmatch(r"((tcp|tls)://)?[^/]+:\d+", address):
        raise ValueError(f"--scheduler {address} is no address, such as tcp://192.0.2.1:8786, and not 'local'")
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise ValueError("--scheduler needs Dask: pip install '.[dask]'") from None
    if address.startswith("tls://") and not _knows_tls():
        raise ValueError(f"--scheduler {address}: Dask has no certificates here; its distributed.comm.tls names them")
    with ExitStack() as stack:
        if address == LOCAL:
            # A block that ends its worker once is taken apart at once; a scheduler's own default is three times more.
            settings = {"distributed.scheduler.allowed-failures": 0, "distributed.worker.preload": [DEAF]}
            stack.enter_context(dask.config.set(settings))
            page = {"dashboard_address": "127.0.0.1:0"}  # else Dask takes port 8787, and warns where it is taken
            with stops_put_off():  # Dask would leave traces
                cluster = LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address=None,
                    scheduler_kwargs=page,
                    host="127.0.0.1",
                    silence_logs=50,
                )
                address = stack.enter_context(cluster).scheduler_address
        try:
            asyncio.run(_shake_hands(address))
            logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # `_answer` says what is lost
            client = stack.enter_context(Client(address, timeout=ANSWERS, set_as_default=False))
        except (OSError, ValueError, TypeError, MemoryError):  # by what other servers say, too
            raise ValueError(
                f"--scheduler {address}: no scheduler answers there within {ANSWERS} s; start one with dask scheduler"
            ) from None
        try:
            client.wait_for_workers(1, timeout=ANSWERS)
        except TimeoutError:
            raise ValueError(f"--scheduler {address} has no worker; start some with dask worker {address}") from None
        _require_suite(client, address, module)
        yield client


async def _shake_hands(address: str) -> None:
    """Raises TimeoutError where something listens that is no scheduler, such as its web page: Dask waits for ever."""
    from distributed.comm import connect
    from distributed.security import Security

    secrets = Security().get_connection_args("client")
    comm = await asyncio.wait_for(connect(address, timeout=ANSWERS, **secrets), ANSWERS)
    await comm.close()


def _knows_tls() -> bool:
    from distributed.security import Security

    return Security().get_connection_args("client").get("ssl_context") is not None


def _require_suite(client: Any, address: str, module: str) -> None:
    """Refuses a scheduler or workers that cannot import the suite, or import another version of it."""
    import_it, version = f"import {module}", "__import__('age_gender').__version__"
    found: set[str] = set()
    for _ in range(1 + TRIES):
        try:
            client.run_on_scheduler(exec, import_it)
            client.run(exec, import_it)
            found = {client.run_on_scheduler(eval, version), *client.run(eval, version).values()}
            break
        except ImportError as error:
            raise ValueError(f"--scheduler {address}: {_cannot_import(error)}") from None
        except OSError:  # a worker went away while it was asked
            with suppress(TimeoutError):
                client.wait_for_workers(1, timeout=ANSWERS)
    if not found:
        raise ValueError(f"--scheduler {address}: its workers go away when they are asked; look at what they print")
    if found != {__version__}:
        raise ValueError(
            f"--scheduler {address} and its workers have the suite's version {', '.join(sorted(found))}, and this is "
            f"{__version__}: start them with the same one"
        )


def _cannot_import(error: ImportError) -> str:
    return (
        f"the scheduler or a worker cannot import the suite ({error}): start each with PYTHONPATH=FOLDER, where FOLDER "
        "is the suite's, in an environment with what requirements.txt names"
    )


def in_order(
    client: Any,
    work: Callable[..., R],
    blocks: Iterable[Any],
    given: Callable[[Any], tuple[Any, ...]],
    deadly: Callable[[Any], R],
    folder: Path,
    threads: int = 1,
) -> Iterator[R]:
    """What the workers, or threads of this process, make of each block, in order; a few for each are under way.

    A block that ends its worker is done again in parts, when nothing else is under way, until the item that does it is
    known. So a worker that someone kills changes nothing, and an item that kills its worker costs itself alone.

    Args:
        client: of `connected`; None has threads do the work.
        work: a function of a module of the suite.
        blocks: sequences that can be sliced.
        given: block -> the arguments of `work`.
        deadly: an item that ends each worker that works on it -> the answer for it.
        folder: the photos', which each worker must see.
        threads: how many, without a client.

    Returns:
        An answer for each block, or for each part of one that ended its worker, as they come.

    Raises:
        ValueError: if the scheduler goes away, or there is no worker any more, or one cannot import the suite; or for
            what `work` raises that is wrong with the input.
    """
    if client is None:
        return done_ahead(lambda block: work(*given(block)), blocks, threads, 2 * threads)

    def submit(block: Any) -> Any:
        return client.submit(_outcome, folder.absolute(), work, *given(block), pure=False)

    return _by_workers(client, submit, blocks, deadly)


def _by_workers(
    client: Any, submit: Callable[[Any], Any], blocks: Iterable[Any], deadly: Callable[[Any], R]
) -> Iterator[R]:
    """What `in_order` says of workers; `submit` hands a block to one, and gives the future of `_outcome`."""
    from distributed import KilledWorker

    def alone(block: Any, tries: int = 0) -> Iterator[R]:
        """The answers for a block that ended its worker, in ever smaller parts, one at a time; an item alone again."""
        step = max(1, len(block) // PARTS)
        for place in range(0, len(block), step):
            part = block[place : place + step]
            future = submit(part)
            _settle(client, [future])
            try:
                yield _answer(future)
            except KilledWorker:
                more = len(part) > 1 or tries < TRIES
                yield from alone(part, tries + (len(part) == 1)) if more else [deadly(part[0])]

    def answers(block: Any, future: Any) -> Iterator[R]:
        """The answers for a block, and if it ended its worker, for its parts, once nothing else is under way."""
        _settle(client, [future])
        try:
            yield _answer(future)
        except KilledWorker:
            _settle(client, [other for _, other in waiting])
            yield from alone(block)

    waiting: deque[tuple[Any, Any]] = deque()
    for block in blocks:
        waiting.append((block, submit(block)))
        if len(waiting) > 2 * max(1, sum(map(int, client.nthreads().values()))):  # its workers' threads
            yield from answers(*waiting.popleft())
    while waiting:
        yield from answers(*waiting.popleft())


def _settle(client: Any, futures: list[Any]) -> None:
    """Waits until some futures are done or failed; not for workers that never come."""
    from distributed import wait

    missing = 0
    while any(future.status == "pending" for future in futures):
        try:
            wait(futures, timeout=ANSWERS)
        except TimeoutError:
            missing = 0 if client.nthreads() else missing + ANSWERS
            if missing >= NOBODY:
                raise ValueError(
                    f"the scheduler has had no worker for {missing} s; start workers (dask worker starts one anew that "
                    "dies), then run this again"
                ) from None
        except Exception:  # cancelled: `_answer` says why
            return


def _outcome(folder: Path, work: Callable[..., R], *given: Any) -> tuple[R | None, str, str, list[str]]:
    """On a worker: an answer, or what is wrong with the input, or the trace of a fault of ours; and what native code
    said on stderr. Dask itself loses exceptions that it cannot send, and waits for ever."""
    answer, wrong, fault = None, "", ""
    with native_lines() as lines:
        try:
            begin(folder)
            answer = work(*given)
        except (ValueError, OSError, MemoryError) as error:
            wrong = str(error) or "out of memory"
        except ImportError as error:
            wrong = _cannot_import(error)
        except Exception:
            fault = traceback.format_exc()
    return answer, wrong, fault, lines


def _answer(future: Any) -> Any:
    """What a worker answered; what native code said there, it says here."""
    from concurrent.futures import CancelledError

    try:
        answer, wrong, fault, lines = future.result()
    except CancelledError:
        raise ValueError("the scheduler went away, or threw the work out; start it, then run this again") from None
    except ImportError as error:
        raise ValueError(_cannot_import(error)) from None
    with suppress(OSError):  # a full disk
        os.write(2, "".join(f"{line}\n" for line in lines).encode())
    if fault:
        raise RuntimeError(f"on a worker:\n{fault}")
    if wrong:
        raise ValueError(wrong)
    return answer


def begin(folder: Path) -> None:
    """What a worker does first: OpenCV takes one core, and the photos' folder must be in sight.

    Raises:
        FileNotFoundError: if this worker does not see the folder; its photos would be counted as missing.
    """
    import cv2

    cv2.setNumThreads(1)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder} is not there on {socket.gethostname()}: each worker must see it under the same name"
        )


@functools.cache
def once(make: Callable[..., R], *arguments: Any) -> R:
    """What a function makes of some arguments, made once in each process: a model, a detector."""
    return make(*arguments)
