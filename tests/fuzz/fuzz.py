"""Feeds the suite damaged files of every kind it reads: python tests/fuzz/fuzz.py --count 5000, or make fuzz.

Each input is a good file with bytes changed, cut off, repeated or put in, by a seed, so that what is found is found
again. It is read as a command would read it, in a process of its own kind: right is that it is read, or refused by the
exceptions that become one line and exit status 2. Wrong is any other exception, a signal, more than 2 GiB, or 60 s.
Wrong inputs are kept in --keep. Exit status: 1 where there is one.
"""

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

MOST_BYTES, MOST_SECONDS = 2 << 30, 60
REFUSALS = (ValueError, OSError, MemoryError, SystemExit)  # what cli.run turns into one line


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
        make: writes a good one to a path.
        read: reads it as a command does.
        name: what the file must be called.
        share: how often it is tried, against the others.
    """

    make: Callable[[Path], None]
    read: Callable[[Path], object]
    name: str
    share: int = 10


# ------------------------------------------------------------------------------------------------ good files


def picture() -> np.ndarray:
    """(48, 64, 3) uint8: smooth, with some detail."""
    y, x = np.mgrid[:48, :64]
    return np.stack([x * 4, y * 5, (x * y) % 256], -1).astype(np.uint8)


def make_photo(path: Path) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    more = {} if path.suffix in (".bmp", ".gif", ".ppm") else {"exif": exif.tobytes()}
    Image.fromarray(picture()).save(path, **more)


def make_video(path: Path) -> None:
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for shift in range(12):
        writer.write(np.roll(picture(), 5 * shift, axis=1))
    writer.release()


def make_table(path: Path) -> None:
    rows = [f'{number}.jpg,"{number + 20}",{"FM"[number % 2]},p{number % 3},1,2,30,40' for number in range(12)]
    path.write_text("\n".join(["path,age,gender,subject,x1,y1,x2,y2", *rows, "a.jpg,20-30,F,p9,1,2,30,40", ""]))


def make_names(path: Path) -> None:
    path.write_text("path,reason,same_as\n" + "".join(f"sub/{number}.jpg,no image,\n" for number in range(12)))


def make_folds(path: Path) -> None:
    header = "user_id\toriginal_image\tface_id\tage\tgender\n"
    for fold in range(5):
        rows = "".join(f"7@N{fold}\t{number}.jpg\t{fold * 9 + number}\t(25, 32)\tf\n" for number in range(6))
        (path.parent / f"fold_{fold}_data.txt").write_text(header + rows)


def make_metadata(path: Path) -> None:
    import scipy.io

    names = np.array([[f"{number:02}/a.jpg"] for number in range(9)], object)
    wiki = {
        "dob": np.arange(9) + 720000,
        "photo_taken": np.full(9, 2010),
        "full_path": names,
        "gender": np.arange(9.0) % 2,
    }
    wiki |= {"face_score": np.full(9, 3.0), "second_face_score": np.full(9, np.nan)}
    scipy.io.savemat(path, {"wiki": wiki}, oned_as="row")


def make_database(path: Path) -> None:
    from conftest import noise, write_database

    columns = {"subject": np.arange(9), "age_std": np.full(9, 2.0), "part": np.zeros(9, int)}
    columns["path"] = [f"{number}.jpg" for number in range(9)]
    write_database(path, noise(9, 16), texts={"db": "wiki", "detector": "none", "part_names": ("a", "b")}, **columns)


def make_first_database(path: Path) -> None:
    import scipy.io

    labels = {"gender": np.arange(5) % 2, "age": np.arange(5) + 20, "db": "wiki", "img_size": 32, "min_score": 1.0}
    scipy.io.savemat(path, {"image": np.stack([picture()[:32, :32]] * 5), **labels})


def tiny_model():
    from conftest import give_every_weight_a_value, micro_network

    model = micro_network(16)
    give_every_weight_a_value(model)
    return model


def make_checkpoint(path: Path) -> None:
    from age_gender.description import Description
    from networks.backbones import build
    from networks.checkpoints import save

    description = Description("wide_resnet", {"depth": 10, "width": 1}, 32)
    save(build(description), path, description)


def make_resume(path: Path) -> None:
    from conftest import stopped_state

    from training.resume import write_resume

    model = tiny_model()
    model.compile("sgd", loss=["mse", "mse"])
    model.optimizer.build(model.trainable_variables)
    write_resume(path, model, 1, stopped_state())


def make_onnx(path: Path) -> None:
    from age_gender.runtimes import SHIPPED

    path.write_bytes(SHIPPED.read_bytes())


def make_recipe(path: Path) -> None:
    path.write_text((ROOT / "recipes" / "strong.args").read_text())


# ---------------------------------------------------------------------------------------------------- readers


def read_photo(path: Path) -> None:
    from age_gender.faces import picture_of

    picture_of(path)


def read_video(path: Path) -> None:
    from age_gender.sources import Video

    for frame in Video(path):
        frame.read()


def read_table(path: Path) -> None:
    from readers import clean, read_records

    clean(read_records("csv", path.parent, {"table": path, "columns": []}), 1, 0, 100, set())


def read_list(path: Path) -> None:
    from age_gender.files import read_names

    read_names(path)


def read_dataset(name: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        from readers import clean, read_records

        clean(read_records(name, path.parent), 1, 0, 100, set())

    return read


def read_database(path: Path) -> None:
    from utils import check_faces, open_database, read_paths

    database = open_database(path)
    check_faces([database])
    read_paths(path)
    database.fingerprint()


def read_model(path: Path) -> None:
    from networks import open_model

    open_model(path)


def read_stopped(path: Path) -> None:
    from training.resume import read_resume

    read_resume(path.parent)


def read_recipe(path: Path) -> None:
    import train
    from training import arguments

    arguments.parse(train.build_parser(), [f"@{path}", "--input", "x.mat"])


KINDS = {
    **{f"photo{suffix}": Kind(make_photo, read_photo, f"photo{suffix}", 15)
       for suffix in (".jpg", ".png", ".webp", ".tif", ".gif", ".bmp", ".ppm", ".avif")},
    "video": Kind(make_video, read_video, "film.mp4", 15),
    "table": Kind(make_table, read_table, "table.csv", 25),
    "list": Kind(make_names, read_list, "list.csv", 15),
    "adience": Kind(make_folds, read_dataset("adience"), "fold_0_data.txt", 15),
    "metadata": Kind(make_metadata, read_dataset("wiki"), "wiki.mat", 10),
    "database": Kind(make_database, read_database, "db.mat", 40),
    "first database": Kind(make_first_database, read_database, "old.mat", 10),
    "checkpoint": Kind(make_checkpoint, read_model, "weights.01-1.00.hdf5", 30),
    "resume": Kind(make_resume, read_stopped, "resume.weights.h5", 20),
    "onnx": Kind(make_onnx, read_model, "model.onnx", 10),
    "recipe": Kind(make_recipe, read_recipe, "mine.args", 10),
}  # fmt: skip


# -------------------------------------------------------------------------------------------------- mutations


def mutate(content: bytes, rng: np.random.Generator) -> bytes:
    """A file's bytes with one to eight changes."""
    for _ in range(int(rng.choice([1, 1, 1, 2, 3, 8]))):
        place = int(rng.integers(0, max(len(content), 1)))
        length = int(2 ** rng.uniform(0, 9))
        if rng.random() < 0.4:  # where the file's own words stand, more often than where its numbers do
            place = int(rng.integers(0, max(min(len(content), 2048), 1)))
        some = rng.integers(0, 256, length, np.uint8).tobytes()
        odd = [b"\0", b"\xff", b'"', b"\n", b",", b"9" * 9, b"-1", b"nan", b"{", b"]"][int(rng.integers(10))]
        content = {
            0: lambda c=content, p=place: c[:p] + bytes([c[p] ^ (1 << int(rng.integers(8)))]) + c[p + 1 :] if c else c,
            1: lambda c=content, p=place, s=some, n=length: c[:p] + s + c[p + n :],
            2: lambda c=content, p=place: c[:p],
            3: lambda c=content, p=place, n=length: c[:p] + c[p + n :],
            4: lambda c=content, p=place, n=length: c[:p] + c[p : p + n] * 2 + c[p + n :],
            5: lambda c=content, p=place, o=odd: c[:p] + o + c[p:],
            6: lambda c=content, p=place, o=odd: c[:p] + o + c[p + len(o) :],
            7: lambda c=content, p=place, n=length: c[:p] + bytes(n) + c[p + n :],
        }[int(rng.choice(8, p=[0.3, 0.1, 0.05, 0.1, 0.05, 0.1, 0.2, 0.1]))]()
    return content


def mutated(kind: str, number: int, seed: int, good: bytes) -> bytes:
    """The input of a number: the same for the same seed."""
    return mutate(good, np.random.default_rng((seed, zlib.crc32(kind.encode()), number)))


# ---------------------------------------------------------------------------------------------------- running


def work(pipe) -> None:
    """Reads what it is told to, in a folder of its own, and says how it went."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # of libraries
    good: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        while True:
            kind, number, seed = pipe.recv()
            place = Path(folder) / kind.replace(" ", "_")
            path = place / KINDS[kind].name
            if kind not in good:
                place.mkdir()
                KINDS[kind].make(path)
                good[kind] = path.read_bytes()
                KINDS[kind].read(path)  # it is good
            path.write_bytes(mutated(kind, number, seed, good[kind]))
            signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)  # of work: SIGPROF then ends this process
            try:
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    KINDS[kind].read(path)
                outcome = "read"
            except REFUSALS as error:
                outcome = "refused" if not isinstance(error, SystemExit) or error.code == 2 else f"exit {error.code}"
            except BaseException as error:
                outcome = f"traceback: {type(error).__name__}: {error}"[:200]
            signal.setitimer(signal.ITIMER_PROF, 0)
            used = memory_used()
            pipe.send(f"{used / 2**30:.1f} GiB" if used > MOST_BYTES and outcome in ("read", "refused") else outcome)


def memory_used() -> int:
    """The most bytes that this process has held; on Linux `ru_maxrss` counts what started it too."""
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        return int(found[1]) * 1024
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Worker:
    """A process that reads inputs, and the next one where it has ended."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, end = context.Pipe()
        self.process = context.Process(target=work, args=(end,), daemon=True)
        self.process.start()
        end.close()

    def outcome(self, kind: str, number: int, seed: int) -> str:
        """How one input went."""
        try:
            self.pipe.send((kind, number, seed))
            if self.pipe.poll(5 * MOST_SECONDS):  # a busy machine gives a process a part of its time
                said = self.pipe.recv()
                if said.endswith("GiB"):  # what it took stays with it
                    self.stop()
                    self.start()
                return said
            said = "stuck"
        except (EOFError, ConnectionError):
            self.process.join()
            said = f"signal {-self.process.exitcode}" if self.process.exitcode < 0 else f"exit {self.process.exitcode}"
        self.stop()
        self.start()
        return said

    def stop(self) -> None:
        self.process.kill()
        self.process.join()


def fuzz(count: int, seed: int, keep: Path | None, kinds: list[str]) -> dict[str, Counter]:
    """Tries inputs of all kinds in turn; the outcomes by kind."""
    total = sum(KINDS[kind].share for kind in kinds)
    found, worker = {}, Worker()
    for kind in kinds:
        found[kind] = Counter()
        for number in range(max(1, round(count * KINDS[kind].share / total))):
            outcome = worker.outcome(kind, number, seed)
            found[kind][outcome] += 1
            if outcome in ("read", "refused"):
                continue
            print(f"{kind} {number}: {outcome}", flush=True)
            if keep:
                keep.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / KINDS[kind].name
                    KINDS[kind].make(path)
                    wrong = mutated(kind, number, seed, path.read_bytes())
                (keep / f"{kind.replace(' ', '_')}_{number}_{KINDS[kind].name}").write_bytes(wrong)
    worker.stop()
    return found


def main() -> int:
    """Parse, fuzz, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=5000, help="inputs in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that went wrong")
    args = parser.parse_args()
    started = time.perf_counter()
    found = fuzz(args.count, args.seed, args.keep, args.kinds)
    for kind, outcomes in found.items():
        print(f"{kind:<16} {json.dumps(outcomes)}")
    everything = sum(found.values(), Counter())
    wrong = sum(number for outcome, number in everything.items() if outcome not in ("read", "refused"))
    tried = sum(everything.values())
    print(f"{tried:,} inputs: {everything['read']:,} read, {everything['refused']:,} refused, {wrong:,} wrong; "
          f"{time.perf_counter() - started:.0f} s")  # fmt: skip
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
