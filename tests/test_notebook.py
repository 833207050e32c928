"""The notebook and the Dockerfile: what a reader would run first."""

import contextlib
import io
import json
import re
from pathlib import Path

import matplotlib

ROOT = Path(__file__).resolve().parent.parent


def test_the_notebook_runs_and_prints_what_it_shows(monkeypatch):
    cells = json.loads((ROOT / "samples/faces.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    monkeypatch.chdir(ROOT / "samples")
    matplotlib.use("agg")
    names: dict[str, object] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for cell in code:
            exec("".join(cell["source"]), names)
    shown = "".join(
        "".join(output["text"])
        for cell in code
        for output in cell["outputs"]
        if output["output_type"] == "stream" and output["name"] == "stdout"
    )
    assert printed.getvalue() == shown and re.match(r"\d+\.\d years off on average; \d+ of 24 ages", shown)


def test_the_dockerfile_copies_what_is_there_and_installs_the_opencv_that_the_package_asks_for():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    copied = [name for line in re.findall(r"^COPY (?!--from)(.*) \S+$", lines, re.M) for name in line.split()]
    assert len(copied) == 4 and all((ROOT / name).exists() for name in copied)
    let_through = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{name}" for name in copied} <= set(let_through)
    versions = re.search(r"opencv-python-headless(\S+?)\"", lines)[1]
    assert f'"opencv-python{versions}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert "age-gender = " in (ROOT / "pyproject.toml").read_text(encoding="utf-8") and "/bin/age-gender" in lines
