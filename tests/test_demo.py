"""The demo on the model that comes with the suite: no Keras is needed, unless Keras alone has a GPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import demo
from age_gender import runtimes
from networks.checkpoints import SHIPPED

ROOT = Path(__file__).resolve().parent.parent
WITHOUT_KERAS = """
import sys
for name in ("keras", "tensorflow", "jax", "scipy", "pandas"):
    sys.modules[name] = None
import runpy
sys.argv = ["demo.py", *sys.argv[1:]]
runpy.run_path("demo.py", run_name="__main__")
"""


def test_the_shipped_model_answers_without_keras(drawn, tmp_path):
    command = ["--image_dir", drawn / "photos", "--output_dir", tmp_path / "found", "--no_display"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_KERAS, *map(str, command)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not done.returncode, done.stderr
    assert "age_gender.onnx (exported from age_gender.hdf5)" in done.stdout and "ONNX Runtime" in done.stdout
    assert (tmp_path / "found" / "predictions.csv").is_file()


@pytest.mark.parametrize(
    ("options", "keras_alone", "wanted"),
    [
        ([], False, runtimes.SHIPPED),
        ([], True, SHIPPED),
        (["--weight_file", str(SHIPPED)], False, SHIPPED),
        (["--depth", "10"], False, None),
    ],
)
def test_which_model_is_taken(monkeypatch, tmp_path, options, keras_alone, wanted):
    monkeypatch.chdir(tmp_path)  # no run is here
    monkeypatch.setattr(demo, "keras_alone_has_a_gpu", lambda: keras_alone)
    parser = demo.build_parser()
    if wanted:
        assert demo.choose_weights(parser, parser.parse_args(options)) == wanted
    else:
        with pytest.raises(SystemExit):
            demo.choose_weights(parser, parser.parse_args(options))


@pytest.mark.parametrize(("card", "onnx", "wanted"), [(None, False, False), ("x", False, True), ("x", True, False)])
def test_keras_is_taken_where_it_alone_has_a_gpu(monkeypatch, card, onnx, wanted):
    monkeypatch.setattr(demo.shutil, "which", lambda name: card)
    monkeypatch.setattr(runtimes, "runs_on_gpu", lambda: onnx)
    assert demo.keras_alone_has_a_gpu() is wanted
