"""Arrows point down, scripts stand alone, heavy packages stay where they belong: read from the imports themselves."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# From the bottom to the top: what stands in one line may import what stands in the lines below it, and nothing else.
FLOORS = (
    {"age_gender"},  # reads faces; what another program installs
    {"utils"},
    {"readers", "random_eraser"},
    {"wide_resnet", "mixup_generator"},
    {"networks"},
    {"training", "evaluation"},
)
ROOMS = ("age_gender", "readers", "networks", "training", "evaluation")
DRAWERS = {"samples", "benchmarks", "web"}  # programs of their own, which nothing imports
HEAVY = {"keras", "tensorflow", "jax", "cv2", "dlib", "scipy", "h5py", "matplotlib", "pandas"}


def python_files():
    """The project's own modules, tests apart, relative to its root."""
    found = [
        *ROOT.glob("*.py"),
        *(path for folder in (*ROOMS, *sorted(DRAWERS)) for path in (ROOT / folder).rglob("*.py")),
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
    return path.parent == Path(".") and any(
        isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) and "__main__" in ast.unparse(node.test)
        for node in tree_of(path).body
    )


def module_of(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


def floor_of(path: Path) -> int | None:
    return next((number for number, names in enumerate(FLOORS) if module_of(path) in names), None)


SUITE = [path for path in python_files() if path.parts[0] not in DRAWERS]
LIBRARY = [path for path in SUITE if not is_script(path)]
VERBS = [path for path in SUITE if is_script(path)]


def test_the_files_that_are_checked_are_the_projects():
    names = {path.as_posix() for path in python_files()}
    expected = {"age_gender/labels.py", "utils.py", "train.py", "readers/__init__.py", "age_gender/detectors/yunet.py"}
    assert expected | {"samples/make_samples.py"} <= names
    assert {"create_db.py", "train.py", "demo.py", "evaluate.py"} <= {path.as_posix() for path in VERBS}


@pytest.mark.parametrize("path", LIBRARY, ids=str)
def test_arrows_point_down(path):
    own = floor_of(path)
    assert own is not None, f"{path} stands on no floor: give it one in FLOORS"
    beside_and_above = {name for names in FLOORS[own:] for name in names} - {module_of(path)}
    assert not imports_of(path) & (beside_and_above | {module_of(verb) for verb in VERBS} | DRAWERS)


@pytest.mark.parametrize("path", VERBS, ids=str)
def test_a_script_imports_no_other_script(path):
    others = {module_of(verb) for verb in VERBS} | DRAWERS
    assert not imports_of(path) & others
    assert floor_of(path) is None


def test_labels_imports_nothing_but_numpy():
    assert imports_of(Path("age_gender/labels.py")) - set(sys.stdlib_module_names) == {"numpy"}


# Benchmarks may: they measure other ways of doing it too.
@pytest.mark.parametrize(
    "path",
    [path for path in python_files() if path != Path("networks/backend.py") and path.parts[0] != "benchmarks"],
    ids=str,
)
def test_only_the_backend_imports_tensorflow_or_jax(path):
    assert not imports_of(path) & {"tensorflow", "jax", "torch"}


PARSERS = ("age_gender/cli.py", "age_gender/__main__.py", "training/arguments.py")


@pytest.mark.parametrize("path", LIBRARY, ids=str)
def test_the_library_parses_no_arguments(path):
    assert "argparse" not in imports_of(path) or path.as_posix() in PARSERS


@pytest.mark.parametrize("path", python_files(), ids=str)
def test_every_file_says_what_it_is_for(path):
    docstring = ast.get_docstring(tree_of(path))
    assert docstring and docstring.splitlines()[0].strip()


@pytest.mark.parametrize("path", [path for path in python_files() if path != Path("age_gender/labels.py")], ids=str)
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


# ------------------------------------------------------------------------------------------------------------- Windows

TESTS = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("*.py"))
NOT_THERE = {"resource", "fcntl", "pwd", "grp", "termios"}  # modules that Windows lacks
LACKING = {"symlink_to", "mkfifo", "send_signal", "preexec_fn", "SIGHUP", "SIGKILL", "setitimer"}  # or has not for all


@pytest.mark.parametrize("path", [*python_files(), *TESTS], ids=str)
def test_no_file_needs_at_its_head_what_windows_lacks(path):
    """One that does ends the collection of all tests there."""
    heads = [node for node in tree_of(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not {name for node in heads for name in ast.unparse(node).replace(",", " ").split()} & NOT_THERE


@pytest.mark.parametrize("path", [path for path in TESTS if path.name.startswith("test_")], ids=str)
def test_a_test_of_what_windows_lacks_is_skipped_there(path):
    for test in tree_of(path).body:
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
            named = {getattr(node, "attr", getattr(node, "arg", None)) for node in ast.walk(test)} & LACKING
            marks = " ".join(map(ast.unparse, test.decorator_list))
            assert not named or "posix" in marks or "skipif" in marks, f"{test.name} needs {named}"
