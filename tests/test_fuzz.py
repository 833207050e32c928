"""A small share of tests/fuzz/fuzz.py: `make fuzz` tries 5,000 inputs."""

import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import posix

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
import fuzz

SLOW = {"checkpoint", "onnx", "resume", "metadata", "first database"}  # each input takes a good part of a second


@pytest.mark.parametrize("kind", [kind for kind in fuzz.KINDS if kind not in SLOW])
def test_damaged_files_are_read_or_refused(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / fuzz.KINDS[kind].name
    fuzz.KINDS[kind].make(path)
    good = path.read_bytes()
    fuzz.KINDS[kind].read(path)
    seen = set()
    for number in range(12):
        path.write_bytes(fuzz.mutated(kind, number, 7, good))
        try:
            fuzz.KINDS[kind].read(path)
            seen.add("read")
        except fuzz.REFUSALS:
            seen.add("refused")
    assert seen


def test_an_input_is_the_same_again_and_no_other():
    good = bytes(range(256)) * 4
    inputs = {fuzz.mutated("table", number, 0, good) for number in range(200)}
    assert fuzz.mutated("table", 3, 0, good) == fuzz.mutated("table", 3, 0, good) != fuzz.mutated("table", 3, 1, good)
    assert len(inputs) > 190 and np.mean([one == good for one in inputs]) < 0.02


@posix
def test_a_process_that_ends_is_found_out():
    """A process that ends is told from one that answers, and the next input has a new one."""
    worker = fuzz.Worker()
    try:
        for kind in ("list", "recipe"):
            assert worker.outcome(kind, 0, 0) in ("read", "refused")
        worker.process.kill()
        assert worker.outcome("list", 0, 0) == "signal 9"
        assert worker.outcome("list", 0, 0) in ("read", "refused")
    finally:
        worker.stop()
