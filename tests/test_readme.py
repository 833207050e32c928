"""The README says what is so. Run as a script, this file writes the scripts' --help into it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
SCRIPTS = ("download.py", "check_dataset.py", "create_db.py", "train.py", "evaluate.py", "demo.py", "export.py")
BLOCK = "### {script}\n.*?```text\n(.*?)```"


def help_of(script: str) -> str:
    """What `python script --help` prints on a terminal of 110 columns, whatever this machine's number of cores."""
    environment = {**os.environ, "COLUMNS": "110"}
    said = subprocess.run(
        [sys.executable, str(ROOT / script), "--help-all" if script == "train.py" else "--help"],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    ).stdout
    return re.sub(r"(threads that (?:decode|read) \(default: )\d+", r"\1all cores", said)


def blocks(text: str) -> dict[str, str]:
    """The help text that the README shows for each script."""
    return {script: re.search(BLOCK.format(script=re.escape(script)), text, re.DOTALL).group(1) for script in SCRIPTS}


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python 3.13 lays --help out in another way")
@pytest.mark.parametrize("script", SCRIPTS)
def test_help_in_the_readme_is_what_the_script_prints(script):
    assert blocks(README.read_text(encoding="utf-8"))[script] == help_of(script)


def test_every_option_and_file_that_the_readme_names_exists():
    text = README.read_text(encoding="utf-8")
    options = {script: set(re.findall(r"--\w+", help_of(script))) for script in SCRIPTS}
    commands = re.findall(r"^python (\w+\.py)(.*)$", text, re.MULTILINE)
    assert len(commands) >= 7
    for script, rest in commands:
        assert set(re.findall(r"--\w+", rest)) <= options[script], script
    for name in re.findall(r"\]\(((?!http)[^)]+)\)", text):
        assert (ROOT / name).exists(), name
    for path in (README, *(ROOT / "docs").glob("*.md")):
        places = re.findall(r"@[A-Z_]+\d*@", path.read_text(encoding="utf-8"))  # for figures, before they are measured
        assert not places, path


def test_the_makefile_and_the_windows_lines_make_the_same_quickstart():
    def arguments(text: str) -> list[set[str]]:
        joined = re.sub(r"\\\n\s*", "", text).replace("\\", "/")
        lines = re.findall(r"(?:python|bin/python) (?:samples/)?(\w+\.py) (.*quickstart.*)", joined)
        return [{script, *(word for word in rest.split() if word != "--no_display")} for script, rest in lines]

    readme = arguments(re.search(r"```bat\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL).group(1))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", "bin")
    assert len(readme) == 5
    assert readme == arguments(makefile)


def write_help() -> None:
    """Puts each script's --help into the README."""
    text = README.read_text(encoding="utf-8")
    for script in SCRIPTS:
        pattern = re.compile(f"(### {re.escape(script)}\n.*?```text\n)(.*?)(```)", re.DOTALL)
        text = pattern.sub(lambda match, script=script: match[1] + help_of(script) + match[3], text, count=1)
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_help()
