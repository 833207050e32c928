"""Files are whole or not there, what dead runs left is swept, and links stay links."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from age_gender import files
from age_gender.files import UNFINISHED, replacing, scratch

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def not_swept_yet():
    files._sweep.cache_clear()


def unfinished(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob(f"{UNFINISHED}*"))


def dead_process() -> int:
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


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


def test_what_a_link_leads_to_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "disk").mkdir()
    link = tmp_path / "database.mat"
    link.symlink_to(tmp_path / "disk" / "real.mat")
    for text in ("first", "second"):  # the first time it leads nowhere yet
        with replacing(link) as temporary:
            temporary.write_text(text)
        assert link.is_symlink() and (tmp_path / "disk" / "real.mat").read_text() == text


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
from age_gender.files import replacing, scratch
folder = Path(sys.argv[1])
with replacing(folder / "weights.hdf5") as file, scratch(folder) as inner:
    file.write_text("half")
    (inner / "part").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_run_left_is_swept_by_the_next_that_writes_there(tmp_path):
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, check=False)
    assert len(unfinished(tmp_path)) == 2 and not (tmp_path / "weights.hdf5").exists()
    with replacing(tmp_path / "weights.hdf5") as temporary:
        temporary.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["weights.hdf5"]


def test_what_others_are_writing_or_is_not_ours_stays(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        stays = (
            f"{UNFINISHED}{socket.gethostname()}-{child.pid}-abc.mat",  # of a run that goes on
            f"{UNFINISHED}another.machine-{dead_process()}-abc.mat",
            f"{UNFINISHED}abc.mat",
            "database.mat",
        )
        for name in stays:
            (tmp_path / name).touch()
        (tmp_path / f"{UNFINISHED}{socket.gethostname()}-{dead_process()}-abc.mat").touch()
        with scratch(tmp_path) as folder:
            (folder / "a").touch()
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stays)
    finally:
        child.communicate(b"\n")
