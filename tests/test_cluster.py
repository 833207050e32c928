"""--scheduler: the same bytes as by threads, whoever dies meanwhile; one line for what can be wrong with it."""

import csv
import logging
import os
import re
import shutil
import signal
import socket
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import damaged_jpeg, noise

from age_gender import cluster

distributed = pytest.importorskip("distributed")

DEADLY, ONCE = b"this ends whoever reads it", b"this ends the first who reads it"
PHOTOS, DEADLY_PHOTO, ONCE_PHOTO = 600, 300, 40
# What each worker runs as it starts, and again when it is started anew.
PRELOAD = f"""
import os, signal
from pathlib import Path
from age_gender import faces

def dying(content, *rest, decode=faces.decode, **more):
    first = Path({{flag!r}})
    if content.endswith({DEADLY!r}) or content.endswith({ONCE!r}) and not first.exists():
        first.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return decode(content, *rest, **more)
if faces.decode.__name__ == "decode":  # a preload may run twice
    faces.decode = dying
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """Faces with a table, one of which ends its worker, one the first that reads it."""
    folder = tmp_path_factory.mktemp("photos")
    rows = [("path", "age", "gender")]
    for number, image in enumerate(noise(PHOTOS, 16)):
        name, more = f"{number:03}.png", {DEADLY_PHOTO: DEADLY, ONCE_PHOTO: ONCE}.get(number, b"")
        (folder / name).write_bytes(cv2.imencode(".png", image)[1].tobytes() + more)
        rows.append((name, number % 90, "fm"[number % 2]))
    with open(folder / "faces.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    """The address of a scheduler with two workers, which are started anew when they die."""
    if sys.platform == "win32":
        pytest.skip("no SIGKILL")
    import dask

    folder = tmp_path_factory.mktemp("dask")
    (folder / "preload.py").write_text(PRELOAD.format(flag=str(folder / "died")))
    settings = {"distributed.scheduler.allowed-failures": 0, "distributed.worker.preload": [str(folder / "preload.py")]}
    with (
        dask.config.set({**settings, "temporary-directory": str(folder)}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", silence_logs=50
        ) as workers,
    ):
        yield workers.scheduler_address, folder / "died"


def arguments(photos: Path, output: Path, *more: str) -> list[str]:
    given = ["--db", "csv", "--table", photos / "faces.csv", "--output", output, *more]
    return list(map(str, given))


def test_a_database_made_by_dying_workers_is_that_of_threads_byte_for_byte(photos, scheduler, tmp_path, capsys):
    import create_db

    address, died = scheduler
    deadly = f"{DEADLY_PHOTO:03}.png"
    shutil.copytree(photos, tmp_path / "without")
    (tmp_path / "without" / deadly).unlink()
    create_db.main(arguments(tmp_path / "without", tmp_path / "threads.mat"))
    capsys.readouterr()
    create_db.main(arguments(photos, tmp_path / "workers.mat", "--scheduler", address))
    assert died.exists()  # so a worker was killed and its block done again
    assert (tmp_path / "threads.mat").read_bytes() == (tmp_path / "workers.mat").read_bytes()
    assert f"{deadly}: ended the worker that read it" in capsys.readouterr().out
    assert (tmp_path / "workers.failed.csv").read_text().split() == [
        "path,reason",
        f"{deadly},ended",
        *"the worker that read it".split(),
    ]


@pytest.fixture(scope="module")
def few(photos, tmp_path_factory) -> Path:
    """A few of the photos, of which two are the same, one is broken and one damaged; none ends anybody."""
    folder = tmp_path_factory.mktemp("few")
    rows = [*(f"{number:03}.png" for number in range(cluster.SEARCHED + 5)), "same.png", "broken.png", "damaged.jpg"]
    for name in rows[:-3]:
        shutil.copy(photos / name, folder)
    shutil.copy(photos / rows[0], folder / "same.png")
    (folder / "broken.png").write_bytes(b"no image")
    damaged_jpeg(folder / "damaged.jpg")
    (folder / "faces.csv").write_text("\n".join(["path,age", *(f"{name},{len(name)}" for name in rows)]))
    return folder


def test_a_face_is_searched_for_by_workers_as_by_threads(few, scheduler, tmp_path, capsys):
    import create_db

    searched = "--detector", "dlib", "--else_whole"
    create_db.main(arguments(few, tmp_path / "threads.mat", *searched))
    [counted] = re.findall("no face was found in .*", capsys.readouterr().out)
    assert re.fullmatch(r"no face was found in [1-9]\d* of the \d+ photos, which were taken whole", counted)
    create_db.main(arguments(few, tmp_path / "workers.mat", *searched, "--scheduler", scheduler[0]))
    assert counted in capsys.readouterr().out
    assert (tmp_path / "threads.mat").read_bytes() == (tmp_path / "workers.mat").read_bytes()
    by_threads = (tmp_path / "threads.damaged.csv").read_text()
    assert "damaged.jpg,Corrupt JPEG data" in by_threads
    assert by_threads == (tmp_path / "workers.damaged.csv").read_text()


def test_the_list_of_what_is_wrong_is_that_of_threads(few, scheduler, tmp_path, monkeypatch):
    import check_dataset

    monkeypatch.setattr(check_dataset, "write_report", lambda *given: None)
    check_dataset.main(arguments(few, tmp_path / "threads.csv"))
    check_dataset.main(arguments(few, tmp_path / "workers.csv", "--scheduler", scheduler[0]))
    by_threads = (tmp_path / "threads.csv").read_text()
    assert len(by_threads.splitlines()) == 4
    assert by_threads == (tmp_path / "workers.csv").read_text()
    damaged = (tmp_path / "workers.damaged.csv").read_text()
    assert "damaged.jpg,Corrupt JPEG data" in damaged and damaged == (tmp_path / "threads.damaged.csv").read_text()


def test_the_predictions_of_a_folder_are_those_of_threads(few, scheduler, tmp_path, monkeypatch):
    import demo

    monkeypatch.chdir(tmp_path)
    given = [str(few), "--detector", "none", "--no_display", "--output_dir"]
    demo.main([*given, "threads"])
    demo.main([*given, "workers", "--scheduler", scheduler[0]])
    by_threads, by_workers = (Path(name, "predictions.csv").read_bytes() for name in ("threads", "workers"))
    assert by_threads == by_workers and len(by_threads.splitlines()) == cluster.SEARCHED + 9
    assert list(Path("threads").glob("*.png")) and not list(Path("workers").glob("*.png"))


@pytest.fixture
def all_die(monkeypatch):
    """Each photo ends its worker."""

    @contextmanager
    def connected(address, module, workers):
        yield address

    for name in ("check_dataset", "demo"):
        monkeypatch.setattr(f"{name}.connected", connected)
    monkeypatch.setattr(
        cluster,
        "in_order",
        lambda client, work, blocks, given, deadly, **more: [deadly(each) for block in blocks for each in block],
    )


def test_photos_that_end_their_worker_are_listed_and_unreadable(few, all_die, tmp_path, monkeypatch):
    import demo
    from readers import duplicates, read_records

    monkeypatch.chdir(tmp_path)
    records = read_records("csv", few, {"table": few / "faces.csv"})
    with pytest.raises(ValueError, match="none of the 40 files could be read"):
        duplicates.look_at(few, records, 0, 1, "client")
    photos = [duplicates.Photo(b"", duplicates.DEADLY, duplicates.NOTHING, 0)] * len(records)
    findings, listed, _ = duplicates.find(records, photos)
    assert ("ended the worker that read it", None, 40, 40) in findings and len(listed) == 40
    with pytest.raises(ValueError, match="nothing could be read"):
        demo.main([str(few), "--detector", "none", "--output_dir", "out", "--scheduler", "any"])
    rows = list(csv.DictReader(open("out/predictions.csv", encoding="utf-8")))
    assert [row["status"] for row in rows] == ["unreadable"] * 40


def pid_and_item(block: list[int]) -> list[int]:
    """For workers: slow where the block comes first."""
    time.sleep(0.3 if 0 in block else 0)
    return [os.getpid(), *block]


def test_answers_come_in_order_from_more_than_one_process(scheduler):
    blocks = [[number, number + 1] for number in range(0, 40, 2)]
    with cluster.connected(scheduler[0], "test_cluster", 2) as client:
        client.wait_for_workers(2, timeout=120)
        answers = list(
            cluster.in_order(client, pid_and_item, blocks, lambda block: (block,), lambda item: [0, item], Path())
        )
    assert [answer[1:] for answer in answers] == blocks
    assert len({answer[0] for answer in answers} - {os.getpid()}) == 2


def fails(kind: type[Exception]) -> None:
    """For workers."""
    raise kind("this is wrong")


@pytest.mark.parametrize(
    "kind, raised", [(FileNotFoundError, ValueError), (MemoryError, ValueError), (KeyError, RuntimeError)]
)
def test_what_a_worker_raises_is_raised_here(scheduler, kind, raised):
    with cluster.connected(scheduler[0], "test_cluster", 2) as client, pytest.raises(raised, match="this is wrong"):
        list(cluster.in_order(client, fails, [[0]], lambda block: (kind,), lambda item: None, Path()))


@pytest.mark.parametrize("address", ["here", "tcp://", "local:", "a b", "http://127.0.0.1:80"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValueError, match="is no address, such as tcp"), cluster.connected(address, "utils", 1):
        pass


def test_a_scheduler_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(cluster, "ANSWERS", 1)
    started = time.monotonic()
    with pytest.raises(ValueError, match="no scheduler answers there"), cluster.connected("127.0.0.1:9", "utils", 1):
        pass
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"])
def test_what_listens_but_is_no_scheduler_is_not_waited_for(words, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWERS", 1)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        kept, address = [], f"127.0.0.1:{mute.getsockname()[1]}"
        threading.Thread(target=lambda: kept.append(mute.accept()[0]) or kept[0].send(words), daemon=True).start()
        with pytest.raises(ValueError, match="no scheduler answers there"), cluster.connected(address, "utils", 1):
            pass


def test_workers_started_here_leave_ctrl_c_to_the_client_and_no_port_is_missed(recwarn):
    with socket.socket() as taken:
        with suppress(OSError):  # it is taken already
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        with cluster.connected("local", "utils", 1) as client:
            asked = client.run(eval, "__import__('signal').getsignal(__import__('signal').SIGINT)")
    assert list(asked.values()) == [signal.SIG_IGN]
    assert not [each for each in recwarn if "8787" in str(each.message)]


def test_without_dask_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(ValueError, match=r"needs Dask: pip install '\.\[dask\]'"),
        cluster.connected("local", "utils", 1),
    ):
        pass


def test_workers_that_lack_the_suite_are_refused(scheduler, monkeypatch):
    with (
        pytest.raises(ValueError, match=r"cannot import the suite \(No module named 'no_room'\).*PYTHONPATH=FOLDER"),
        cluster.connected(scheduler[0], "no_room.of_ours", 1),
    ):
        pass
    monkeypatch.setattr(cluster, "__version__", "0.0.1")
    with pytest.raises(ValueError, match="and this is 0.0.1"), cluster.connected(scheduler[0], "utils", 1):
        pass


def test_a_worker_that_does_not_see_the_photos_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere is not there on .*each worker must see it"):
        cluster.begin(tmp_path / "nowhere")


def test_of_a_scheduler_that_goes_away_dask_prints_no_trace(scheduler, monkeypatch):
    log = logging.getLogger("distributed.client")
    monkeypatch.setattr(log, "level", logging.WARNING)
    with cluster.connected(scheduler[0], "utils", 1):
        assert not log.isEnabledFor(logging.ERROR)


def test_a_scheduler_without_workers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(cluster, "ANSWERS", 1)
    monkeypatch.setattr(cluster, "NOBODY", 2)
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0", silence_logs=50) as nobody:
        with distributed.Client(nobody) as client, pytest.raises(ValueError, match="has had no worker for 2 s"):
            list(cluster.in_order(client, pid_and_item, [[1]], lambda block: (block,), lambda item: [item], Path()))


def test_blocks_hold_many_photos():
    assert cluster.BLOCK == 256


def test_images_of_any_size_are_sent_in_bounded_blocks():
    from readers import cutting

    sizes = []

    class Client:
        def nthreads(self):
            return {"one": 1}

        def submit(self, wrapper, folder, work, taken, rows, *rest, **more):
            sizes.append(len(rows))
            raise ConnectionError

    from readers import Records

    records = Records([f"{n}.jpg" for n in range(600)], np.zeros(600, np.int64), np.zeros(600, np.int64))
    for size in (64, 1024):
        with pytest.raises(ConnectionError):
            list(
                cutting.decoded_blocks(
                    records, np.arange(600), Path(), cutting.Cut(size, 0, False, None, False), 1, Client()
                )
            )
    assert sizes == [256, (1 << 26) // (3 * 1024**2)]
