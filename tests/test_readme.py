"""README and docs/ say what is so. Run as a script, this file writes each command's --help into docs/commands/."""

import argparse
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from conftest import posix

ROOT = Path(__file__).resolve().parent.parent
README, COMMANDS = ROOT / "README.md", ROOT / "docs" / "commands"
PAGES = (README, *sorted((ROOT / "docs").rglob("*.md")), *(ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md")))
HELP = {  # page below docs/commands -> the calls whose help it shows
    **{
        name: [(f"{name}.py", "--help")]
        for name in ("download", "check_dataset", "create_db", "evaluate", "demo", "export")
    },
    "train": [("train.py", "--help"), ("train.py", "--help-all")],
    "age-gender": [("-m", "age_gender", "--help")],
}
PARSED = ("download", "check_dataset", "create_db", "train", "evaluate", "demo", "export")


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def help_of(call: tuple[str, ...]) -> str:
    """What a call prints on a terminal of 110 columns, whatever this machine's number of cores."""
    environment = {**os.environ, "COLUMNS": "110"}
    done = subprocess.run(
        [sys.executable, *call], capture_output=True, text=True, env=environment, check=True, cwd=ROOT
    )
    return re.sub(r"(threads that (?:decode|read) \(default: )\d+", r"\1all cores", done.stdout)


def page_of(name: str) -> str:
    """The page of docs/commands that shows a command's help."""
    title = HELP[name][0][0] if name != "age-gender" else name
    blocks = []
    for call in HELP[name]:
        words = " ".join(word for word in call if word != "-m").replace("age_gender", "age-gender")
        blocks.append(f"`{'' if name == 'age-gender' else 'python '}{words}`\n\n```text\n{help_of(call)}```\n")
    return f"# {title}\n\n" + "\n".join(blocks)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python 3.13 lays --help out in another way")
@pytest.mark.parametrize("name", HELP)
def test_the_help_in_the_docs_is_what_the_command_prints(name):
    assert text_of(COMMANDS / f"{name}.md") == page_of(name), "python tests/test_readme.py writes it anew"


def test_every_command_has_its_page():
    assert {path.stem for path in COMMANDS.glob("*.md")} == set(HELP)
    assert set(HELP) - {"age-gender"} == {path.stem for path in ROOT.glob("*.py") if "build_parser" in text_of(path)}


# --------------------------------------------------------------------------------------------------- command lines


def commands_of(text: str) -> list[list[str]]:
    """The words of each `python NAME.py ...` line of a page's shell blocks, joined where a backslash goes on."""
    blocks = re.findall(r"```(?:sh|bat)\n(.*?)```", text, re.DOTALL)
    joined = re.sub(r"\\\n\s*", "", "\n".join(blocks))
    return [
        shlex.split(line.replace("\\", "/"), comments=True)
        for line in re.findall(r"^\s*python (\w+\.py.*)$", joined, re.MULTILINE)
    ]


LINES = [(page, words) for page in PAGES for words in commands_of(text_of(page))]


def test_the_docs_have_their_command_lines():
    assert len(LINES) >= 20
    assert {words[0].removesuffix(".py") for _, words in LINES} >= set(PARSED)


def understood(words: list[str], monkeypatch) -> None:
    """Fails unless the script's own parser takes the line."""
    monkeypatch.chdir(ROOT)
    script, *arguments = (word.replace("$fold", "0") for word in words)
    try:
        import_module(Path(script).stem).build_parser().parse_args(arguments)
    except (SystemExit, argparse.ArgumentError) as ended:
        pytest.fail(f"{' '.join(words)}: {ended}")


@pytest.mark.parametrize(("page", "words"), LINES, ids=[f"{page.stem}-{' '.join(words)[:60]}" for page, words in LINES])
def test_every_command_line_is_understood(page, words, monkeypatch):
    assert words[0].removesuffix(".py") in PARSED, page.name
    understood(words, monkeypatch)


@pytest.mark.parametrize("line", text_of(ROOT / "tests" / "command_lines_0.5.0.txt").splitlines())
def test_every_command_line_of_the_readme_of_0_5_0_is_understood_still(line, monkeypatch):
    understood(shlex.split(line)[1:], monkeypatch)


def test_every_page_and_recipe_has_one_name_for_one_thing():
    for path in (*PAGES, *(ROOT / "recipes").glob("*.args")):
        former = re.search(r"--(weights|output_path)\b", text_of(path))  # taken still, and shown nowhere
        assert not former or path.name == "CHANGELOG.md", f"{path}: {former}"


def test_every_file_that_a_page_links_exists():
    for page in PAGES:
        for name in re.findall(r"\]\(((?!http|#)[^)]+)\)", text_of(page)):
            assert (page.parent / name.partition("#")[0]).exists(), f"{page.name}: {name}"
        places = re.findall(r"@[A-Z_]+\d*@", text_of(page))  # for figures, before they are measured
        assert not places, page


def test_every_page_is_reached_from_the_readme():
    reached, open_ = set(), [README]
    while open_:
        page = open_.pop()
        reached.add(page)
        for name in re.findall(r"\]\(((?!http|#)[^)]+\.md)[^)]*\)", text_of(page)):
            if (linked := (page.parent / name).resolve()) not in reached:
                open_.append(linked)
    assert {page for page in PAGES if page != ROOT / "CHANGELOG.md"} <= reached


def test_the_makefile_and_the_windows_lines_make_the_same_quickstart():
    def arguments(text: str) -> list[set[str]]:
        joined = re.sub(r"\\\n\s*", "", text).replace("\\", "/").replace('"', "")
        lines = re.findall(r"(?:python|bin/python) (?:samples/)?(\w+\.py) (.*quickstart.*)", joined)
        return [{script, *(word for word in rest.split() if word != "--no_display")} for script, rest in lines]

    page = next(page for page in PAGES if "```bat\n" in text_of(page))
    windows = arguments(re.search(r"```bat\n(.*?)```", text_of(page), re.DOTALL).group(1))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", "bin")
    assert len(windows) >= 5
    assert windows == arguments(makefile)


# ---------------------------------------------------------------------------------------------- figures and promises


def test_the_comparison_counts_the_networks_that_there_are():
    from networks.backbones import BACKBONES

    (row,) = re.findall(r"A choice of networks \| yes: \[(\d+)\]", text_of(ROOT / "docs" / "COMPARISON.md"))
    assert int(row) == len(BACKBONES)


def test_the_readmes_figures_of_utkface_are_the_model_cards():
    readme, card = text_of(README), text_of(ROOT / "docs" / "MODEL_CARD.md")
    share = r"([\d.]+)%"
    said = re.search(rf"as the demo cuts them, .* ([\d.]+) years, with {share} .*: ([\d.]+), {share}\)", readme)
    row = rf"cut as `demo.py` cuts \| 1,478 \| ([\d.]+) .*\| ([\d.]+), .*\| - \| {share} .*\| {share},"
    error, error_before, gender, gender_before = re.search(row, card).groups()
    assert said.groups() == (error, gender, error_before, gender_before)
    errors = re.findall(r"^age [4-9]0-\d+ +\d+ +([\d.]+) \(.*%.*%$", card, re.MULTILINE)
    assert len(errors) == 6
    ends = tuple(f"{float(end(errors)):.0f}" for end in (min, max))
    assert re.search(r"(\d+) to (\d+) from 40 on", readme).groups() == ends
    assert re.search(r"errors of (\d+) to (\d+) years", card).groups() == ends


def test_what_leaves_the_machine_is_said_on_every_page_that_promises():
    options = {name: import_module(name).build_parser()._option_string_actions for name in PARSED}
    sends = [name for name in PARSED if "--scheduler" in options[name]]
    (said,) = re.findall(r"`--scheduler` of (.*?) sends", text_of(ROOT / "SECURITY.md"))
    assert sorted(re.findall(r"`(\w+)\.py`", said)) == sorted(sends) and sends
    for page in (README, ROOT / "docs" / "demo.md", ROOT / "docs" / "COMPARISON.md"):
        (promise,) = re.findall(r"^.*(?:send nothing|sends nothing|Nothing is sent).*$", text_of(page), re.MULTILINE)
        assert "`--scheduler`" in promise, page


# --------------------------------------------------------------------------------------------------- Python lines


@posix
@pytest.mark.parametrize("page", [README, ROOT / "docs" / "api.md"], ids=lambda page: page.stem)
def test_the_python_lines_run_as_they_stand(page, drawn, tmp_path, monkeypatch, capsys):
    import cv2

    photos = [path for path in sorted((drawn / "photos").glob("*.jpg")) if path.stem in ("family", "girl", "couple")]
    for name, photo in zip(("photo", "a", "b"), photos, strict=True):
        (tmp_path / f"{name}.jpg").write_bytes(photo.read_bytes())
    image = cv2.imread(str(photos[0]))
    cv2.imwrite(str(tmp_path / "face.jpg"), image)
    film = cv2.VideoWriter(str(tmp_path / "film.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 5, image.shape[1::-1])
    for _ in range(2):
        film.write(image)
    film.release()
    (tmp_path / "checkpoints").symlink_to(ROOT / "checkpoints")
    blocks = [
        code for code in re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL) if "age_gender import" in code
    ]
    assert blocks
    monkeypatch.chdir(tmp_path)
    for block in blocks:  # each with names of its own; that each prints something is part of what the page says
        exec(compile(block, block, "exec"), {"__name__": "__main__"})
        assert capsys.readouterr().out.strip(), block


def write_help() -> None:
    """Writes each command's page of help."""
    COMMANDS.mkdir(exist_ok=True)
    for name in HELP:
        (COMMANDS / f"{name}.md").write_text(page_of(name), encoding="utf-8")


if __name__ == "__main__":
    write_help()
