"""Arrows point down, scripts stand alone, heavy packages stay where they belong: read from the imports themselves."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = (
    {"labels"},
    {"archives", "backend", "cli", "faces", "heads", "random_eraser", "sources", "uncertainty", "utils"},
    {"detectors", "metrics", "pages", "protocols", "readers", "wide_resnet"},
    {"applications", "plots"},
    {"converters", "mixup_generator", "models", "predictor", "reports", "runtimes", "training"},
)
SCRIPTS = len(LAYERS)  # the layer above all others
DRAWERS = {"samples", "benchmarks"}  # programs of their own, which nothing imports
HEAVY = {"keras", "tensorflow", "jax", "cv2", "dlib", "scipy", "h5py", "matplotlib", "pandas"}


def python_files():
    """The project's own modules, tests apart, relative to its root."""
    found = [
        *ROOT.glob("*.py"),
        *(path for d in ("readers", "detectors", *sorted(DRAWERS)) for path in (ROOT / d).rglob("*.py")),
    ]
    return sorted(path.relative_to(ROOT) for path in found)


def tree_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


def imports_of(path: Path) -> set[str]:
    """Top names of all modules that a file imports, at its head or inside functions."""
    names = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def is_script(path: Path) -> bool:
    return any(
        isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) and "__main__" in ast.unparse(node.test)
        for node in tree_of(path).body
    )


def module_of(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def layer_of(path: Path) -> int | None:
    return next((number for number, names in enumerate(LAYERS) if module_of(path) in names), None)


SUITE = [path for path in python_files() if path.parts[0] not in DRAWERS]
LIBRARY = [path for path in SUITE if not is_script(path)]
VERBS = [path for path in SUITE if is_script(path)]


def test_the_files_that_are_checked_are_the_projects():
    names = {path.as_posix() for path in python_files()}
    expected = {"labels.py", "utils.py", "train.py", "readers/__init__.py", "detectors/__init__.py"}
    assert expected | {"samples/make_samples.py"} <= names
    assert {"create_db.py", "train.py", "demo.py", "evaluate.py"} <= {path.as_posix() for path in VERBS}


@pytest.mark.parametrize("path", LIBRARY, ids=str)
def test_a_library_module_imports_nothing_from_above(path):
    own = layer_of(path)
    assert own is not None, f"{path} has no layer: give it one in LAYERS"
    above = {name for names in LAYERS[own + 1 :] for name in names} | {module_of(verb) for verb in VERBS} | DRAWERS
    assert not imports_of(path) & above


@pytest.mark.parametrize("path", VERBS, ids=str)
def test_a_script_imports_no_other_script(path):
    others = {module_of(verb) for verb in VERBS} | DRAWERS
    assert not imports_of(path) & others
    assert layer_of(path) is None


def test_labels_imports_nothing_but_numpy():
    assert imports_of(Path("labels.py")) - set(sys.stdlib_module_names) == {"numpy"}


# Benchmarks may: they measure other ways of doing it too.
@pytest.mark.parametrize(
    "path", [path for path in python_files() if path.name != "backend.py" and path.parts[0] != "benchmarks"], ids=str
)
def test_only_the_backend_imports_tensorflow_or_jax(path):
    assert not imports_of(path) & {"tensorflow", "jax", "torch"}


@pytest.mark.parametrize("path", LIBRARY, ids=str)
def test_the_library_parses_no_arguments(path):
    assert "argparse" not in imports_of(path) or path.name == "cli.py"


@pytest.mark.parametrize("path", python_files(), ids=str)
def test_every_file_says_what_it_is_for(path):
    docstring = ast.get_docstring(tree_of(path))
    assert docstring and docstring.splitlines()[0].strip()


@pytest.mark.parametrize("path", [path for path in python_files() if path.name != "labels.py"], ids=str)
def test_the_number_of_ages_is_written_in_labels_alone(path):
    lines = [
        node.lineno for node in ast.walk(tree_of(path)) if isinstance(node, ast.Constant) and node.value in (101, 101.0)
    ]
    assert not lines, f"{path} has a literal 101: it is labels.NUM_AGES, or MAX_AGE + 1"


PROBE = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as ended:
    assert not ended.code, ended.code
print("LOADED", *sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("path", [*VERBS, Path("samples/make_samples.py")], ids=str)
def test_help_answers_without_loading_what_is_heavy(path):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, (ROOT / path).as_posix()], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert "usage: " + path.name in done.stdout
    loaded = set(done.stderr.rpartition("LOADED ")[2].split())
    assert "argparse" in loaded and not loaded & HEAVY
