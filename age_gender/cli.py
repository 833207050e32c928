"""What every script's command line shares: the look of --help, typed values, and errors of one line."""

import argparse
import glob
import io
import json
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO, TypeVar

from age_gender import __version__
from age_gender.machine import SHOWN, Stderr, available_cores

T = TypeVar("T")


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the description's line breaks and shows each default that is a value."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default is None or action.default is False or action.default in ([], argparse.SUPPRESS):
            return action.help
        return super()._get_help_string(action)


class Paths(argparse.Action):
    """Takes paths, and expands the wildcards that the shell has left: quoted ones, and all of them on Windows. A file
    that an option names twice, as by two wildcards or by a link, is taken once."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        # Where the default is no path, as of --exclude, what is given again adds up; else the last one counts.
        before = getattr(namespace, self.dest) if self.default == [] else []
        paths = [*before, *(found for text in values for found in expanded(text))]
        if option_string:  # photos that are named without one are answered as often as they are named
            first: dict[str, Path] = {}
            for path in paths:
                first.setdefault(os.path.realpath(path), path)
            paths = list(first.values())
        setattr(namespace, self.dest, paths)


# What add_argument takes for a file, for a folder, and for paths and wildcards.
FILE: dict[str, Any] = {"type": Path, "metavar": "FILE"}
FOLDER: dict[str, Any] = {"type": Path, "metavar": "DIR"}
PATHS: dict[str, Any] = {"type": Path, "action": Paths, "nargs": "+"}


def expanded(path: str | Path) -> list[Path]:
    """The files that a name with wildcards means; the name itself where none is so called: who opens it says so."""
    matches = [] if os.path.exists(path) else sorted(glob.glob(str(path)))
    return list(map(Path, matches)) or [Path(path)]


class _Parser(argparse.ArgumentParser):
    """A parser that tells a shell how a word may go on, where the package argcomplete asks in its behalf, and that
    names the option nearest to one that is not known."""

    def error(self, message: str) -> NoReturn:
        """Says what is wrong, and which option may have been meant; exit status 2."""
        from difflib import get_close_matches

        start, _, words = message.partition("unrecognized arguments: ")
        options = [word.partition("=")[0] for word in words.split() if word.startswith("-")]
        if options and not start:
            actions = self._option_string_actions.items()
            shown = {name.strip("-"): name for name, action in actions if action.help != argparse.SUPPRESS}
            near = get_close_matches(options[0].strip("-"), shown, 1)
            message += f"; did you mean {shown[near[0]]}?" if near else "; --help lists the options"
        elif self.fromfile_prefix_chars and words.endswith(".args") and not start:
            message += f"; did you mean @{words}?"
        # --json may stand behind what is refused
        Json.asked |= "--json" in sys.argv and any(isinstance(action, Json) for action in self._actions)
        result(error=message)
        super().error(message)

    def parse_args(self, *given: Any, **named: Any) -> Any:
        if "_ARGCOMPLETE" in os.environ:
            import argcomplete

            argcomplete.autocomplete(self)
        found = super().parse_args(*given, **named)
        if "" in (given[0] if given and given[0] is not None else sys.argv[1:]):  # Path("") would be this folder
            self.error("an argument is empty; is a variable of the shell not set?")
        return found


def open_nowhere() -> TextIO:
    """A stream that takes any name and shows nothing."""
    return open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")


class Quiet(argparse.Action):
    """Has nothing printed but errors."""

    def __call__(self, *given: object) -> None:
        os.environ["TQDM_DISABLE"] = "1"
        sys.stdout = open_nowhere()


class Json(argparse.Action):
    """Has `run` end with a line of JSON: the exit status, and what `result` was told."""

    asked = False

    def __call__(self, *given: object) -> None:
        Json.asked = True


_result: dict[str, object] = {}  # of this process's run


def result(**facts: object) -> None:
    """What a command came to, for the last line that --json asks for; what is no number becomes null."""
    _result.update({name: None if isinstance(x, float) and not math.isfinite(x) else x for name, x in facts.items()})


def taken_result() -> dict[str, object]:
    """What it came to so far, which it then has not said: of a run that is one of several."""
    said = dict(_result)
    _result.clear()
    return said


def parser_for(script_docstring: str | None, usage: str, quiet: bool = True) -> argparse.ArgumentParser:
    """A parser that describes a script by its docstring, which python -OO leaves out, and keeps its error messages
    short; `quiet`, whether the script can do without what it prints."""
    described = (script_docstring or "").strip()
    parser = _Parser(prog=program(), usage=usage, description=described, formatter_class=HelpFormatter)
    parser.add_argument("--version", action="version", version=f"age-gender-estimation {__version__}")
    if quiet:
        hidden = argparse.SUPPRESS
        parser.add_argument("--quiet", action=Quiet, nargs=0, dest=hidden, default=hidden, help="print errors alone")
        text = "end with a line of JSON: the exit status, and what was made (docs/install.md)"
        parser.add_argument("--json", action=Json, nargs=0, dest=hidden, default=hidden, help=text)
    return parser


def number(
    kind: type[int] | type[float], low: float, high: float = float("inf"), exclusive: bool = False
) -> Callable[[str], float]:
    """A type for argparse: an int or a float within low..high, or strictly between them."""

    def convert(text: str) -> float:
        try:
            value = kind(text)
            finite = math.isfinite(value)
        except OverflowError:
            raise argparse.ArgumentTypeError(f"a number of {len(text)} digits is too large") from None
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not {'a whole' if kind is int else 'a'} number") from None
        inside = low < value < high if exclusive else low <= value <= high
        if not (inside and finite):
            if high == float("inf"):
                allowed = f"above {low:g}" if exclusive else f"{low:g} or more"
            else:
                allowed = f"{'strictly ' if exclusive else ''}between {low:g} and {high:g}"
            raise argparse.ArgumentTypeError(f"{value} is not {allowed}")
        return value

    return convert


def numeric(
    metavar: str,
    kind: type[int] | type[float],
    low: float,
    high: float = float("inf"),
    default: float | None = None,
    exclusive: bool = False,
) -> dict[str, Any]:
    """What add_argument takes for a number: its metavar, its default, and a type as `number` makes it."""
    return {"metavar": metavar, "type": number(kind, low, high, exclusive), "default": default}


def checked(convert: Callable[[str], T]) -> Callable[[str], T]:
    """A type for argparse from a function of a text that raises ValueError with what is wrong."""

    def tell(text: str) -> T:
        try:
            return convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return tell


def add_trust(group: Any) -> None:
    """Adds what lets a model run that is a program."""
    group.add_argument(
        "--trust",
        action="store_true",
        help="run a SavedModel: it is a program that can read and write any file, unlike the other formats",
    )


def add_age_scale(group: Any, text: str) -> None:
    """Adds --age_scale, other groups than the model's own; the text says what for."""
    from age_gender.labels import AGE_SCALES, age_scale  # NumPy, which not every command needs

    group.add_argument(
        "--age_scale",
        type=checked(age_scale),
        metavar="SCALE",
        help=f"{text}: {', '.join(AGE_SCALES)}, or groups of years such as 0-12,13-17,18-100 (default: what the "
        "checkpoint was trained on)",
    )


def add_workers(group: Any, do: str) -> None:
    """Adds --workers, threads that do something, and --scheduler."""
    cores = available_cores()
    text = f"threads that {do}; with --scheduler local, processes"
    group.add_argument("--workers", **numeric("N", int, 1, 256, default=cores), help=text)
    add_scheduler(group)


def add_scheduler(group: Any, more: str = "") -> None:
    """Adds --scheduler, a Dask scheduler whose workers do the work, with what else its help shall say."""
    group.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="have the workers of a Dask scheduler read the photos, such as tcp://192.0.2.1:8786; local: start one "
        f"here. They must see the photos under the same names and import the suite (docs/SCALING.md){more}",
    )


def add_databases(group: Any, text: str) -> None:
    """Adds --input, databases; the text says for what."""
    group.add_argument("--input", "-i", **PATHS, metavar="FILE", help=text)


def add_dataset_arguments(parser: argparse.ArgumentParser, readers: Mapping[str, Any]) -> None:
    """Adds what names a dataset of readers.READERS, and lists these below the help."""
    group = parser.add_argument_group("dataset")
    group.add_argument("--db", choices=readers, default="wiki", metavar="NAME", help="dataset, one of those below")
    text = "the dataset's folder (default: named below, or the table's)"
    group.add_argument("--data_dir", **FOLDER, help=text)
    group.add_argument("--table", **FILE, help="csv: the table of photos and labels")
    group.add_argument(
        "--columns",
        type=_column,
        nargs="+",
        default=[],
        metavar="FIELD=NAME",
        help="csv: the table's names for path, age, age_std, gender, subject, part, x1, y1, x2, y2, if others; "
        "FIELD= leaves a field out",
    )
    group.add_argument(
        "--genders",
        nargs=2,
        metavar=("FEMALE", "MALE"),
        help="csv: what the table writes for a woman and for a man, where not f, female, m or male",
    )
    width = max(map(len, readers))
    parser.epilog = "datasets:\n" + "\n".join(
        f"  {name:<{width}} {reader.says}; {reader.folder}" for name, reader in readers.items()
    )


def check_dataset_arguments(parser: argparse.ArgumentParser, args: Any, readers: Mapping[str, Any]) -> None:
    """Refuses options that the dataset's reader does not take; where no folder is named, it is the table's, else the
    reader's own."""
    for name in ("table", "columns", "genders"):
        if getattr(args, name) and name not in readers[args.db].options:
            parser.error(f"--{name} is for --db csv; {args.db} has labels of its own")
    args.data_dir = args.data_dir or (args.table.parent if args.table else Path(readers[args.db].folder))


def _column(text: str) -> tuple[str, str]:
    field, equals, name = text.partition("=")
    if not (field and equals and (name or field != "path")):
        raise argparse.ArgumentTypeError(f"'{text}' is not FIELD=NAME, such as age=apparent_age")
    return field, name


class Stopped(KeyboardInterrupt):
    """Ctrl-C, SIGTERM or SIGHUP: what a user, a scheduler, a container or a closed terminal sends."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def program() -> str:
    """The command's name in messages: that of its file or, where python -m runs a package, the package's."""
    path = Path(sys.argv[0])
    return path.parent.name.replace("_", "-") if path.name == "__main__.py" else path.name


def run(main: Callable[[], int | None]) -> None:
    """Runs a script's main: what is wrong with the input becomes one line on stderr and exit status 2."""
    script = program()
    _open_streams()
    # Files are replaced as a whole, and some network drives have no locks: HDF5 would call each file unreadable.
    os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
    out = sys.stdout  # before --quiet
    _asked.clear()
    _handle_stops(_stop)
    try:
        status = main()
    except KeyboardInterrupt as stopped:
        status = 128 + (stopped.number if isinstance(stopped, Stopped) else signal.SIGINT)
        result(error="stopped")
        print(f"\n{script}: stopped", file=sys.stderr)
    except SystemExit as ended:  # --help, and what the parser refuses
        status = int(ended.code or 0)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader of our output went away
        status = 1
    except (ValueError, OSError, MemoryError, ImportError, RuntimeError) as error:
        status, message = 2, _in_words(error)
        result(error=message)
        print(f"{script}: error: {message.translate(SHOWN)}", file=sys.stderr)
    if Json.asked:
        plain = {"status": status or 0, **_result}
        line = json.dumps(plain, default=lambda x: x.item() if hasattr(x, "item") else str(x))
        with suppress(OSError):  # a full disk, which has been said
            print(line, file=out, flush=True)
    sys.exit(status)


def _in_words(error: Exception) -> str:
    """What is wrong, in one line. Raises a RuntimeError again that is a fault of ours."""
    message = " ".join(str(error).split()) or "out of memory"
    if isinstance(error, FileExistsError) and error.filename and not error.filename2:
        return f"{error.filename} is there, and is no folder"  # but a file, or a link that leads nowhere
    if "failed to map segment" in message:  # of a library
        return f"out of memory: {message}"
    if isinstance(error, ImportError):
        return f"{message}; pip install -r requirements.txt installs what the suite needs"
    if not isinstance(error, RuntimeError):
        return message
    if "start new thread" in message:
        return f"{message}; allow more processes and memory (ulimit -u, ulimit -v), or fewer --workers"
    raise error


# Windows has no SIGHUP.
STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_asked: list[int] = []  # signals that asked this process to stop


def _handle_stops(handler: Any) -> dict[int, Any]:
    """Has a handler take the signals that ask to stop, and returns what took them before. One that is ignored stays so:
    nohup ignores SIGHUP."""
    former = {number: signal.getsignal(number) for number in STOPS if signal.getsignal(number) != signal.SIG_IGN}
    for number in former:
        signal.signal(number, handler)
    return former


@contextmanager
def stops_go_to(handler: Any) -> Iterator[None]:
    """In this block a handler, or signal.SIG_DFL, takes the signals that ask to stop."""
    former = _handle_stops(handler)
    try:
        yield
    finally:
        for number, before in former.items():
            signal.signal(number, before)


def _stop(number: int, _frame: object) -> None:
    _asked.append(number)
    raise Stopped(number)


def heed() -> None:
    """Raises Stopped again where a signal came and work goes on: what is raised while Python is called back, as
    TensorFlow does while it traces, and Python itself where it puts objects away, can be lost."""
    if _asked:
        raise Stopped(_asked[0])


@contextmanager
def stops_put_off() -> Iterator[None]:
    """A signal that asks to stop is heeded when the block ends, whatever it raises."""
    try:
        with stops_go_to(lambda number, _: _asked.append(number)):
            yield
    finally:
        heed()


_ONE_LINE = {**SHOWN, ord("\t"): "\\t", ord("\n"): "\\n", ord("\r"): "\\r"}


def one_line(text: str) -> str:
    """A text with names in it, its control characters, line ends among them, escaped: it stays one line.

    >>> one_line("a\\nb.jpg: no face")
    'a\\\\nb.jpg: no face'
    """
    return text.translate(_ONE_LINE)


def counted(count: int, what: str = "face") -> str:
    """A number of things in words.

    >>> counted(1), counted(1478), counted(2, "person")
    ('1 face', '1,478 faces', '2 people')
    """
    return f"{count:,} {what if count == 1 else 'people' if what == 'person' else what + 's'}"


class _Plain(io.TextIOWrapper):
    """A stream on which a name shows as it is and commands nothing; one that cannot be shown is no error."""

    def write(self, text: str) -> int:
        try:
            return super().write(text.translate(SHOWN))
        except OSError as error:  # a full disk, or a reader that went away
            raise OSError(error.errno, error.strerror, "stdout") from None


def _open_streams() -> None:
    """Has stdout escape what a terminal would obey, and opens the streams that whoever started us has closed. No stderr
    that cannot be written, as on a full disk, ends the run."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open_nowhere())  # which takes the lowest free number, the stream's own
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.name != os.devnull:
        out = sys.stdout
        sys.stdout = _Plain(out.buffer, out.encoding, "backslashreplace", line_buffering=True)  # in a pipe too
    if sys.stderr is sys.__stderr__:
        sys.stderr = Stderr(sys.stderr)
