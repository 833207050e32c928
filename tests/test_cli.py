"""What ends a script: signals, closed streams, names that would command a terminal."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import posix

import age_gender
from age_gender import cli

ROOT = Path(__file__).resolve().parent.parent


def script(body: str) -> list[str]:
    """A script whose main has this body."""
    main = "def main():\n    " + "\n    ".join(body.splitlines())
    code = f"import sys, time\nfrom age_gender import cli\n{main}\nsys.argv = ['it.py']\ncli.run(main)"
    return [sys.executable, "-c", code]


WAITS = """try:
    print('ready', flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print('put away')
    raise"""


def test_a_line_is_said_at_once_in_a_pipe_too():
    done = subprocess.run(script("print('ready')\nimport os\nos._exit(0)"), cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "ready\n"


@posix
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_a_script_as_ctrl_c_does(name, status):
    child = subprocess.Popen(
        script(WAITS),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background job ignores Ctrl-C, and what nohup starts a closed terminal.
        preexec_fn=lambda: signal.signal(getattr(signal, name), signal.SIG_DFL),
    )
    assert child.stdout.readline() == "ready\n"
    child.send_signal(getattr(signal, name))
    out, err = child.communicate(timeout=30)
    assert (out, err, child.returncode) == ("put away\n", "\nit.py: stopped\n", status)


@posix
def test_a_signal_that_a_library_loses_is_heeded_later():
    body = "try:\n    print('ready', flush=True)\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    pass\n"
    words = script(body + "print('goes on')\ncli.heed()\nprint('to its end')")
    child = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    child.stdout.readline()
    child.send_signal(signal.SIGTERM)
    assert (*child.communicate(timeout=30), child.returncode) == ("goes on\n", "\nit.py: stopped\n", 143)


@posix
def test_a_signal_is_put_off_until_a_block_has_ended(monkeypatch):
    monkeypatch.setattr(cli, "_asked", [])
    former, done = signal.getsignal(signal.SIGTERM), []
    with pytest.raises(cli.Stopped), cli.stops_put_off():
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("all of it")
        raise RuntimeError("which the signal brought about")
    assert done and signal.getsignal(signal.SIGTERM) is former


@posix
def test_a_signal_that_is_ignored_is_not_put_off_but_stays_ignored(monkeypatch):
    monkeypatch.setattr(cli, "_asked", [])
    former = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with cli.stops_put_off():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, former)
    assert cli._asked == []


@posix
def test_a_hangup_that_nohup_ignores_stays_ignored():
    body = "print('ready', flush=True)\ntime.sleep(1)\nprint('done')"
    child = subprocess.Popen(
        script(body),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    child.stdout.readline()
    child.send_signal(signal.SIGHUP)
    assert child.communicate(timeout=30)[0] == "done\n" and child.returncode == 0


@posix
def test_a_closed_stream_is_no_error():
    body = "from tqdm import tqdm\nfor _ in tqdm(range(3)): pass\nprint('done')\nraise ValueError('wrong')"
    for closed, out in (("2>&-", "done\n"), (">&-", ""), (">&- 2>&-", "")):
        done = subprocess.run(
            ["sh", "-c", 'exec "$@" ' + closed, "sh", *script(body)], cwd=ROOT, capture_output=True, text=True
        )
        assert (done.stdout, done.returncode) == (out, 2), closed


@posix
def test_a_program_without_stderr_can_hold_it_back():
    body = "from age_gender.machine import held_back_stderr\nwith held_back_stderr() as said:\n print(repr(said()))"
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", body], cwd=ROOT, capture_output=True
    )
    assert (done.stdout, done.returncode) == (b"''\n", 0)


@posix
def test_names_that_no_stream_can_say_stop_nothing_where_nothing_is_said():
    for words, redirected in ((["--quiet"], ""), ([], ">&-")):
        command = script("cli.parser_for('Does it.', 'it.py').parse_args()\nprint('caf\\udce9')")
        command[-1] = command[-1].replace("['it.py']", str(["it.py", *words]))
        done = subprocess.run(["sh", "-c", f'exec "$@" {redirected}', "sh", *command], cwd=ROOT, capture_output=True)
        assert (done.stdout, done.stderr, done.returncode) == (b"", b"", 0)


def test_what_is_said_of_a_run_of_several_is_not_said_of_the_next():
    cli.taken_result()
    cli.result(best="a", loss=float("inf"))
    assert cli.taken_result() == {"best": "a", "loss": None} and cli.taken_result() == {}


def test_a_name_commands_no_terminal():
    name = "a\x1b[2Jb\x07\x9bc.jpg"
    done = subprocess.run(
        script(f"print({name!r}, 'ümlaut\\ttab')\nraise ValueError({name!r})"), cwd=ROOT, capture_output=True
    )
    assert done.stdout.decode() == "a\\x1b[2Jb\\x07\\x9bc.jpg ümlaut\ttab\n"
    assert done.stderr.decode() == "it.py: error: a\\x1b[2Jb\\x07\\x9bc.jpg\n"


def test_a_name_of_several_lines_is_one_line():
    assert (
        cli.one_line("a\n2.jpg\r\tb\x1b[2J\x9b ümlaut\\: no face") == "a\\n2.jpg\\r\\tb\\x1b[2J\\x9b ümlaut\\: no face"
    )


@posix
def test_the_demo_writes_its_tables_when_it_is_stopped(drawn, tmp_path):
    photo = drawn / "photos" / "family.jpg"
    (tmp_path / "in").mkdir()
    for number in range(3000):
        (tmp_path / "in" / f"{number:04}.jpg").symlink_to(photo)
    command = ["demo.py", "--image_dir", tmp_path / "in", "--output_dir", tmp_path / "out", "--no_display"]
    child = subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for line in child.stdout:
        if line.startswith("0002.jpg"):
            break
    child.send_signal(signal.SIGTERM)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 143 and err.endswith("demo.py: stopped\n"), err
    rows = (tmp_path / "out" / "predictions.csv").read_text().splitlines()
    assert len(rows) > 3 * 3 and "results in" in out
    assert not [path.name for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_every_command_says_its_version_and_is_quiet_on_request(capsys, monkeypatch):
    parser = cli.parser_for("What it does.", "it.py [options]")
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"age-gender-estimation {age_gender.__version__}\n"
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # put back at the end
    monkeypatch.setenv("TQDM_DISABLE", "")
    assert vars(parser.parse_args(["--quiet"])) == {}  # no argument of what is done
    print("not seen")
    print("an error", file=sys.stderr)
    assert os.environ["TQDM_DISABLE"] == "1"
    assert capsys.readouterr() == ("", "an error\n")


def test_wildcards_that_the_shell_left_are_expanded(tmp_path):
    for name in ("b.mat", "a.mat", "c.txt", "[x].mat"):
        (tmp_path / name).write_bytes(b"")
    parser = cli.parser_for("What it does.", "it.py [options]")
    parser.add_argument("--input", type=Path, action=cli.Paths, nargs="+")

    def given(*names):
        return [path.name for path in parser.parse_args(["--input", *(str(tmp_path / name) for name in names)]).input]

    assert given("c.txt", "?.mat") == ["c.txt", "a.mat", "b.mat"]
    assert given("[x].mat", "nowhere.mat", "*.hdf5") == ["[x].mat", "nowhere.mat", "*.hdf5"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--count", "9" * 400], "a number of 400 digits is too large"),
        (["--rate", "inf"], "inf is not 0 or more"),
        (["--rate", "1e999"], "inf is not 0 or more"),
        (["--rate", "nan"], "nan is not 0 or more"),
        (["--rate", "1", ""], "an argument is empty; is a variable of the shell not set?"),
        (["--rates", "1"], "unrecognized arguments: --rates; did you mean --rate?"),
        (["--list"], "unrecognized arguments: --list; --help lists the options"),
        (["--xyz=3"], "unrecognized arguments: --xyz=3; --help lists the options"),
        (
            ["a.mat", "--rate", "1", "b.mat", "--cuont=3"],
            "unrecognized arguments: b.mat --cuont=3; did you mean --count?",
        ),
    ],
)
def test_what_a_shell_or_a_slip_makes_of_a_value_is_refused(words, message, capsys):
    parser = cli.parser_for("What it does.", "it.py [options]")
    parser.add_argument("--count", **cli.numeric("N", int, 0))
    parser.add_argument("--rate", **cli.numeric("RATE", float, 0))
    parser.add_argument("paths", nargs="*", type=Path)
    with pytest.raises(SystemExit):
        parser.parse_args(words)
    assert message in capsys.readouterr().err


def test_a_progress_bar_that_was_begun_before_is_shown_while_native_code_is_kept():
    body = (
        "import os\nfrom age_gender import machine\nbar = sys.stderr\nwith machine.native_lines() as lines:\n"
        " bar.write('10%')\n os.write(2, b'native\\n')\nprint(lines)"
    )
    done = subprocess.run(script(body), cwd=ROOT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("['native']\n", "10%")


def run_with(body: str, *words: str) -> tuple[str, str, int]:
    """What a script with this body prints and its status, called with some words."""
    parse = "cli.parser_for('Does it.', 'it.py [options]').parse_args()"
    command = script(f"{parse}\n{body}")
    command[-1] = command[-1].replace("['it.py']", str(["it.py", *words]))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return done.stdout, done.stderr, done.returncode


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux alone has a full disk at hand")
def test_a_full_disk_behind_stderr_or_stdout_ends_no_run_without_a_word():
    def told(redirected, body):
        words = ["sh", "-c", f'exec "$@" {redirected}', "sh", *script(body)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        return done.stdout, done.stderr, done.returncode

    progress = "sys.stderr.write('\\r 10%')\nprint('done')"
    kept = "from age_gender import machine\nwith machine.native_stderr_kept():\n os.write(2, b'native\\n')\n "
    wrong = "raise ValueError('it is wrong')"
    assert told("2>/dev/full", progress) == ("done\n", "", 0)
    assert told("2>/dev/full", wrong) == ("it.py: error: it is wrong\n", "", 2)
    assert told("2>/dev/full", "import os\n" + kept + wrong) == ("native\nit.py: error: it is wrong\n", "", 2)
    assert told(">/dev/full 2>&1", wrong) == ("", "", 2)
    said = "it.py: error: [Errno 28] No space left on device: 'stdout'\n"
    assert told(">/dev/full", "print('done')\ncli.Json.asked = True") == ("", said, 2)


def test_a_package_that_is_missing_and_docstrings_that_are_left_out_end_in_no_traceback():
    _, said, status = run_with("import no_such_package")
    assert (said.count("\n"), status) == (1, 2) and "No module named 'no_such_package'; pip install -r" in said
    done = subprocess.run([sys.executable, "-OO", "demo.py", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert "usage: demo.py" in done.stdout and (done.stderr, done.returncode) == ("", 0)


@posix
def test_what_the_machine_does_not_give_and_what_is_in_the_way_are_one_line_each(tmp_path):
    (tmp_path / "way").touch()
    cases = {
        'raise RuntimeError("can\'t start new thread")': "can't start new thread; allow more processes and memory",
        "raise ImportError('a.so: failed to map segment from shared object')": "out of memory: a.so: failed to map",
        "raise FileExistsError('it exists already')": "it exists already",
        f"pathlib.Path({str(tmp_path / 'way')!r}).mkdir(exist_ok=True)": f"{tmp_path / 'way'} is there, and is no fold",
    }
    for body, message in cases.items():
        _, said, status = run_with(f"import pathlib\n{body}")
        assert said.startswith(f"it.py: error: {message}") and (said.count("\n"), status) == (1, 2)
    _, said, status = run_with("raise RuntimeError('a fault of ours')")
    assert "Traceback" in said and status == 1


def test_json_is_the_last_line_also_where_nothing_else_is_printed_and_where_it_failed():
    facts = "faces=numpy.int64(3), error_years=float('nan'), at=pathlib.Path('a')"
    body = f"print('done')\nimport numpy, pathlib\ncli.result({facts})"
    said = '{"status": 0, "faces": 3, "error_years": null, "at": "a"}\n'
    assert run_with(body)[0] == "done\n"
    assert run_with(body, "--json") == ("done\n" + said, "", 0)
    assert run_with(body, "--quiet", "--json") == run_with(body, "--json", "--quiet") == (said, "", 0)
    out, err, status = run_with("raise ValueError('it is\\nwrong')", "--json")
    assert (json.loads(out), err, status) == ({"status": 2, "error": "it is wrong"}, "it.py: error: it is wrong\n", 2)
    refused = run_with("print('not reached')", "--count", "x", "--quiet", "--json")
    assert json.loads(refused[0]) == {
        "status": 2,
        "error": "unrecognized arguments: --count x; --help lists the options",
    }


def test_a_shell_can_complete_options(tmp_path):
    pytest.importorskip("argcomplete")
    said = tmp_path / "said"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_STDOUT_FILENAME": str(said)}
    for command, line, wanted in (
        ("demo.py", "demo.py --detector yu", {"yunet"}),
        ("train.py", "train.py --mixup_a", {"--mixup_alpha"}),
    ):
        position = {"COMP_LINE": line, "COMP_POINT": str(len(line))}
        subprocess.run([sys.executable, command], cwd=ROOT, env=os.environ | asked | position, check=True)
        assert {word.strip() for word in said.read_text().splitlines()} == wanted
        assert "PYTHON_ARGCOMPLETE_OK" in (ROOT / command).read_text()[:1024]
