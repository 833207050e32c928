"""Files are whole or not there, what dead runs left is swept, and links stay links."""

import errno
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import filelock
import pytest
from conftest import posix

from age_gender import files
from age_gender.files import UNFINISHED, newest, reading, replacing, reserve, scratch

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def not_swept_yet():
    files._sweep.cache_clear()


def unfinished(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{UNFINISHED}*"))


def dead_process() -> str:
    """How the names begin of what a process has not finished that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return files._mine().replace(f"{os.getpid()}-", f"{child.pid}-")


def test_a_file_appears_when_it_is_whole_and_the_old_one_stays_when_it_is_not(tmp_path):
    path = tmp_path / "deep" / "table.csv"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists() and temporary.name.endswith(".csv") and temporary.name.startswith(UNFINISHED)
    assert path.read_text() == "whole"
    with pytest.raises(OSError, match="the disk is full"), replacing(path) as temporary:
        temporary.write_text("half")
        raise OSError("the disk is full")
    assert path.read_text() == "whole" and not unfinished(path.parent)


@posix
def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "database.mat"
    link.symlink_to(tmp_path / "disk" / "real.mat")
    for text in ("first", "second"):  # the first time it leads nowhere yet
        with replacing(link) as temporary:
            temporary.write_text(text)
        assert link.is_symlink() and (tmp_path / "disk" / "real.mat").read_text() == text


@posix
def test_the_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(files.os, "fsync", lambda handle: done.append("sync"))
    replace = os.replace
    monkeypatch.setattr(files.os, "replace", lambda *paths: (done.append("move"), replace(*paths)))
    with replacing(tmp_path / "a") as temporary:
        temporary.write_text("x")
    assert done == ["sync", "move", "sync"]


KILLED = """
import os, signal, sys
from pathlib import Path
from types import SimpleNamespace
from age_gender.files import replacing, scratch
folder = Path(sys.argv[1])
with replacing(folder / "weights.hdf5") as file, scratch(folder) as inner:
    file.write_text("half")
    (inner / "part").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@posix
def test_what_a_killed_run_left_is_swept_by_the_next_that_writes_there(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False)
    assert len(unfinished(tmp_path)) == 2 and not (tmp_path / "weights.hdf5").exists()
    with replacing(tmp_path / "weights.hdf5") as temporary:
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.hdf5"]


@posix
def test_what_others_are_writing_or_is_not_ours_stays(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        stays = (
            files._mine().replace(f"{os.getpid()}-", f"{child.pid}-abc.mat"),  # of a run that goes on
            dead_process().replace(socket.gethostname(), "another.machine") + "abc.mat",
            f"{UNFINISHED}abc.mat",
            "database.mat",
        )
        for name in stays:
            (tmp_path / name).touch()
        (tmp_path / f"{dead_process()}abc.mat").touch()
        with scratch(tmp_path) as folder:
            (folder / "a").touch()
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stays)
    finally:
        child.communicate(b"\n")


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has namespaces of processes")
def test_what_a_container_of_the_same_name_is_writing_stays_until_it_is_a_day_old(tmp_path, monkeypatch):
    name = dead_process()  # here; there it may live
    monkeypatch.setattr(files, "_container", lambda: "4026532999.")
    for place in ("young", "old"):
        (tmp_path / f"{name}{place}.mat").touch()
    for place, seconds in (("young", 80_000), ("old", 90_000)):
        os.utime(tmp_path / f"{name}{place}.mat", (0, time.time() - seconds))
    with replacing(tmp_path / "other") as temporary:
        assert "-4026532999." in temporary.name
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}young.mat", "other"]


@posix
def test_what_cannot_be_replaced_is_refused_before_the_work(tmp_path):
    (tmp_path / "folder.mat").mkdir()
    (tmp_path / "a.mat").symlink_to("b.mat")
    (tmp_path / "b.mat").symlink_to("a.mat")
    for name, message in (("folder.mat", "Is a directory"), ("a.mat", "Too many levels of symbolic links")):
        with pytest.raises(OSError, match=f"{message}.*{name}"), replacing(tmp_path / name):
            pytest.fail("the work began")
    assert not unfinished(tmp_path) and (tmp_path / "a.mat").is_symlink()


def test_any_name_that_a_file_may_have_can_be_written(tmp_path):
    for name in ("a." + "b" * 240 + ".weights.h5", "c" * 250 + ".csv", "d" + ".e" * 120):
        with replacing(tmp_path / name) as temporary:
            assert temporary.name.endswith(name[-3:])
        assert (tmp_path / name).is_file()


def test_any_name_that_a_file_may_have_can_be_locked_and_a_folder_made_for_nothing_goes(tmp_path):
    path = tmp_path / "new" / "folder" / ("c" * 250 + ".csv")
    with files.alone(path), pytest.raises(ValueError, match="another run is at work on .*ccc"), files.alone(path):
        pytest.fail("two runs work on one file")
    assert not list(tmp_path.iterdir())
    with files.alone(path):
        path.touch()
    assert list(path.parent.iterdir()) == [path]


def test_where_no_lock_can_be_made_the_file_is_named_and_not_its_lock(tmp_path, monkeypatch):
    def refused(lock):
        raise PermissionError(errno.EACCES, "Permission denied", lock.lock_file)

    monkeypatch.setattr(filelock.FileLock, "acquire", refused)
    with (
        pytest.raises(PermissionError, match=r"Permission denied: '[^']*[/\\]a\.mat'"),
        files.alone(tmp_path / "a.mat"),
    ):
        pytest.fail("nobody keeps others away")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits of this kind")
def test_a_file_that_has_no_room_is_refused_before_it_is_begun(tmp_path):
    reserve(tmp_path / "new", 3_000_000, tmp_path / "final")
    assert (tmp_path / "new").stat().st_size == 0
    script = (
        "import resource, sys; from pathlib import Path; from age_gender.files import reserve\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: reserve(Path(sys.argv[1]), 200_000, Path('final.hdf5'))\n"
        "except OSError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "new"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert done.stdout == "final.hdf5 was not written, 200,000 bytes: File too large\n", done.stderr


def test_the_newest_file_is_none_that_is_hidden_or_dated_into_the_future(tmp_path):
    now = time.time()
    for name, when in (("old", -500), ("newest", -50), (".new-host-1-x", -5), ("future", 9e6), ("ahead", 60)):
        (tmp_path / name).write_bytes(b"")
        os.utime(tmp_path / name, (now + when, now + when))
    order = []
    left = list(tmp_path.iterdir())
    while found := newest(left):
        order.append(found.name)
        left.remove(found)
    assert order == ["ahead", "newest", "old", "future"]
    assert newest(tmp_path.iterdir(), lambda path: -len(path.name)).name == "old"


@posix
def test_of_files_of_one_time_the_last_by_name_is_the_newest_and_what_is_no_file_is_none(tmp_path):
    for name in ("weights.02.hdf5", "weights.10.hdf5", "weights.09.hdf5"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9, 1e9))
    (tmp_path / "weights.11.hdf5").symlink_to(tmp_path / "gone")
    (tmp_path / "weights.12.hdf5").mkdir()
    for order in (sorted(tmp_path.iterdir()), sorted(tmp_path.iterdir(), reverse=True)):
        assert newest(order).name == "weights.10.hdf5"


def test_a_lack_of_memory_is_no_fault_of_the_file(tmp_path):
    with pytest.raises(MemoryError, match="big.mat needs more memory than there is"):
        with reading(tmp_path / "big.mat", "it is damaged"):
            raise MemoryError("Unable to allocate 9 TiB")


@posix
def test_a_drive_that_numbers_no_folders_loses_none(tmp_path, monkeypatch):
    for name in ("F/25/a.jpg", "M/30/b.jpg", "c.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "F" / "up").symlink_to(tmp_path)
    monkeypatch.setattr(files.os, "stat", lambda path: SimpleNamespace(st_dev=0, st_ino=0))
    assert files.files_below(tmp_path) == ["F/25/a.jpg", "M/30/b.jpg", "c.jpg"]


@pytest.mark.parametrize("error", [NotImplementedError(), OSError(errno.ENOLCK, "No locks available")])
def test_a_drive_without_locks_is_said_and_worked_on(error, tmp_path, monkeypatch, capsys):
    import filelock

    def acquire(self, *more, **settings):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with files.alone(tmp_path / "a.mat"):
        pass
    assert f"{tmp_path} has no locks: let no other run work on {tmp_path / 'a.mat'}" in capsys.readouterr().err


def test_on_windows_a_file_that_is_read_for_a_moment_is_replaced_after_it(tmp_path, monkeypatch):
    new, old = tmp_path / "new", tmp_path / "old"
    new.write_text("new")
    tries, replace = [], os.replace

    def kept(source, target):
        tries.append(source)
        if len(tries) < 3:
            raise PermissionError("it is read")
        replace(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", kept)
        patched.setattr(files.time, "sleep", lambda seconds: None)
        patched.setattr(files.os, "name", "nt")
        files._replace(new, old)
    assert old.read_text() == "new" and len(tries) == 3
