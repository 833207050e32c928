"""The .mat module: dataset metadata in, face databases out and in.

A database is a MATLAB 7.3 file, which is HDF5 with a MATLAB header, so there is no 4 GiB wall; MATLAB, mat73 and
h5py open it. Its images are one contiguous block that is memory-mapped: opening reads the labels alone.
MATLAB 5 databases made by the original suite are read too.
"""

import hashlib
import os
import pickle
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np

from age_gender.description import MOST_MARGIN, ORIGINAL_MARGIN
from age_gender.detectors import NO_DETECTOR
from age_gender.files import reading, replacing, reserve, why_absent
from age_gender.hdf5 import MOST_COMPRESSED, own_dataset, read_values
from age_gender.labels import FEMALE, MALE, MAX_AGE, UNKNOWN
from age_gender.machine import available_cores

BLOCK = 256  # faces that a digest is of, and that are copied at a time
BLOCK_DIGESTS, LABEL_DIGEST = "block_crc32", "label_digest"
EARLIER_DIGESTS = "block_digest"  # the first 64 bits of SHA-256, in databases of versions 0.7 to 0.9
LABELS = ("age", "gender", "digest", "subject", "age_low", "age_high", "age_std", "race", "part")  # what it is of
BOUNDS = {
    **dict.fromkeys(("age", "age_low", "age_high"), (UNKNOWN, MAX_AGE)),
    "gender": (UNKNOWN, max(FEMALE, MALE)),
    "age_std": (0, 999),
}
OTHERS = ("image", "db", "margin", "detector", "align", "race_names", "part_names")
READ = (*LABELS, *OTHERS, BLOCK_DIGESTS, EARLIER_DIGESTS, LABEL_DIGEST)  # of a database, when it is opened
FILE = "(file)"  # among what was read: the open file, under a name that no dataset has
USER_BLOCK = 512  # bytes before the HDF5 part, where MATLAB expects its header
ORIGINAL_UTKFACE = ("utk", "utkface")  # what the original suite called its databases of UTKFace


# ---------------------------------------------------------------------------------------------- metadata in


def read_struct(path: Path, name: str, wanted: list[str], optional: list[str] = ()) -> dict[str, np.ndarray]:
    """Fields of a MATLAB 5 struct, as IMDB-WIKI publishes its metadata.

    Args:
        path: the .mat file.
        name: the struct's name.
        wanted: fields that must be there.
        optional: fields that are returned where they are there.

    Returns:
        field -> (n,) array of the file's own dtype; text fields are object arrays.

    Raises:
        ValueError: if the file is no MATLAB file, or the struct or a field is missing, or lengths differ.
    """
    with reading(path, f"{path} cannot be read as a MATLAB 5 file; fetch it again, or save it with -v7"):
        content = _load_matlab5(path, [name])
    if name not in content:
        raise ValueError(f"{path} holds no struct named '{name}'; is it another dataset's file?")
    struct = content[name]
    if not struct.size:
        raise ValueError(f"the struct '{name}' in {path} is empty")
    fields = struct.dtype.names or ()
    if missing := [field for field in wanted if field not in fields]:
        raise ValueError(
            f"the struct '{name}' in {path} lacks {', '.join(missing)}; it has {', '.join(fields) or 'none'}"
        )
    # One struct of columns, as published, or a struct for each record.
    values = {field: struct[field].flat[0] if struct.size == 1 else struct[field] for field in fields}
    columns = {field: values[field].reshape(-1) for field in [*wanted, *optional] if field in fields}
    lengths = {field: len(column) for field, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the fields of '{name}' in {path} differ in length: {lengths}")
    if not all(lengths.values()):
        raise ValueError(f"the struct '{name}' in {path} has no entries")
    return columns


READ_MATLAB5 = """
import pickle, sys, scipy.io
try:
    import resource
    seconds, memory = map(int, sys.argv[2:4])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
except (ImportError, ValueError, OSError):  # Windows has no limits, and macOS not all of them
    pass
pickle.dump(scipy.io.loadmat(sys.argv[1], variable_names=sys.argv[4:] or None), sys.stdout.buffer, 5)
"""


def _load_matlab5(path: Path, names: list[str] | None = None) -> dict[str, np.ndarray]:
    """The variables of a MATLAB 5 file, read in a process of its own, which some damages end, and some keep busy.

    WIKI's 3.8 MB take it 3 s; it gets 20 s and 5 more for each MB, and 1.5 GB and MOST_COMPRESSED times the file.
    """
    size = path.stat().st_size
    limits = [str(20 + 5 * size // 1_000_000), str((3 << 29) + MOST_COMPRESSED * size)]
    done = subprocess.run(
        [sys.executable, "-P", "-c", READ_MATLAB5, str(path), *limits, *(names or [])],
        capture_output=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    if done.returncode < 0:
        raise ValueError("it is damaged so that reading it does not end, or ends the reader")
    said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    if done.returncode and "MemoryError" in said:
        raise MemoryError(f"{path} needs more memory than there is, or than such a file should")
    if done.returncode:
        raise ValueError(said or "it is damaged")
    return pickle.loads(done.stdout)


# ---------------------------------------------------------------------------------------------- database out


@contextmanager
def writing_database(path: Path, rows: int, image_size: int):
    """A DatabaseWriter on a temporary file that is moved to `path` when the block ends well.

    with writing_database("data/wiki_db.mat", rows=38138, image_size=64) as writer:
        writer.append(images)  # (k, 64, 64, 3) uint8, BGR
        writer.finish(columns={"age": ages, "gender": genders}, scalars={"margin": 0.4}, texts={"db": "wiki"})
    """
    with replacing(path) as temporary:
        writer = DatabaseWriter(temporary, rows, image_size, path)
        try:
            yield writer
        except BaseException:
            writer.discard()
            raise


class DatabaseWriter:
    """Writes a database block by block; memory does not grow with the images.

    A contiguous dataset cannot shrink: where fewer rows arrive than were announced, the images are copied once, to
    the exact size.
    """

    def __init__(self, path: Path, rows: int, image_size: int, final: Path):
        self.path, self.final = path, final
        self.rows = rows
        self.image_size = image_size
        self.written = 0
        # A CRC-32 for each BLOCK of images, for damage, not against forgers: it takes a third of SHA-256's time.
        self._digests = []
        reserve(path, rows * image_size * image_size * 3, final, written=False)  # a full disk is noticed on the way
        self._file = self._create(path, rows)
        # Images are written past h5py, which would keep the decoding threads from Python's lock meanwhile.
        self._block = open(path, "r+b")
        self._start = self._file["image"].id.get_offset()

    def _create(self, path: Path, rows: int):
        import h5py

        file = h5py.File(path, "w", userblock_size=USER_BLOCK, libver="earliest")
        shape = (rows, self.image_size, self.image_size, 3)
        layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)  # so that the block has its place before it is written
        images = file.create_dataset("image", shape, np.uint8, dcpl=layout, fill_time="never")
        images.attrs["MATLAB_class"] = np.bytes_("uint8")
        return file

    def append(self, images: np.ndarray) -> None:
        """Writes (k, size, size, 3) uint8 BGR images after those already written.

        Raises:
            ValueError: if they are of another shape or type, or more than were announced.
        """
        shape = (self.image_size, self.image_size, 3)
        if images.shape[1:] != shape or images.dtype != np.uint8 or self.written + len(images) > self.rows:
            raise ValueError(
                f"room for {self.rows - self.written} images {shape} uint8; received {images.shape} {images.dtype}"
            )
        self._block.seek(self._start + self.written * images[:1].nbytes)
        images = np.ascontiguousarray(images)
        self._block.write(images)
        while len(images):  # in few calls: each lets other threads take Python's lock, which has to be waited for
            within = self.written % BLOCK
            if not within:
                self._digests.append(0)
            some, images = np.split(images, [BLOCK - within])
            self._digests[-1] = zlib.crc32(some, self._digests[-1])
            self.written += len(some)

    def finish(self, columns: dict[str, object], scalars: dict[str, float], texts: dict[str, object]) -> None:
        """Adds the labels and completes the file.

        Args:
            columns: name -> (written,) integers or floats (stored as (n, 1) int64 or double), or a list of
                strings (stored as (n, L) characters, padded with zeros).
            scalars: name -> number, stored as a (1, 1) double.
            texts: name -> string, stored as (1, L) characters; or a tuple of strings, stored as (k, L).

        Raises:
            ValueError: if a column is not as long as the images.
        """
        self._block.close()
        if self.written < self.rows:
            self._shrink()
        self._reserve(columns, texts)
        for name, column in columns.items():
            if len(column) != self.written:
                raise ValueError(f"column '{name}' has {len(column)} rows, the images {self.written}")
            if isinstance(column, np.ndarray):
                self._add_numbers(name, column[:, None])
            else:
                self._add_text(name, column)
        self._add_numbers(BLOCK_DIGESTS, np.array(self._digests, np.int64)[:, None])
        self._add_numbers(LABEL_DIGEST, np.full((1, 1), label_digest(columns), np.int64))
        for name, number in scalars.items():
            self._add_numbers(name, np.full((1, 1), number, np.float64))
        for name, text in texts.items():
            self._add_text(name, [text] if isinstance(text, str) else list(text))
        self._file.close()
        header = b"MATLAB 7.3 MAT-file, face database of the age and gender suite".ljust(116)
        with open(self.path, "r+b") as file:
            file.write(header + bytes(8) + b"\x00\x02IM")

    def discard(self) -> None:
        """Closes a file that is not to be kept, as where the disk is full: then HDF5 needs what its images took."""
        with suppress(OSError):
            self._block.close()
        os.truncate(self.path, 0)
        with suppress(OSError, RuntimeError):
            self._file.close()

    def _add_numbers(self, name: str, values: np.ndarray) -> None:
        values = values.astype(np.float64 if values.dtype.kind == "f" else np.int64)
        dataset = self._file.create_dataset(name, data=values)
        dataset.attrs["MATLAB_class"] = np.bytes_("double" if values.dtype.kind == "f" else "int64")

    def _add_text(self, name: str, rows: list[str]) -> None:
        # MATLAB's characters are UTF-16 units: what lies beyond 16 bits takes two.
        units = [np.frombuffer(row.encode("utf-16-le", "surrogatepass"), np.uint16) for row in rows]
        characters = np.zeros((len(rows), max(1, *map(len, units))), np.uint16)
        for row, unit in zip(characters, units, strict=True):
            row[: len(unit)] = unit
        dataset = self._file.create_dataset(name, data=characters)
        dataset.attrs["MATLAB_class"] = np.bytes_("char")
        dataset.attrs["MATLAB_int_decode"] = np.int32(2)

    def _reserve(self, columns: dict[str, object], texts: dict[str, object]) -> None:
        """Refuses labels that there is no room for: HDF5 notices only when it closes a dataset, and then says nothing,
        or ends the process."""
        size = 1 << 17
        for rows in (*columns.values(), *texts.values()):
            numbers = isinstance(rows, np.ndarray)
            size += len(rows) * (8 if numbers else 4 * max(1, *map(len, rows)))  # bytes; of UTF-16, or more
        reserve(self.path, size, self.final)

    def _shrink(self) -> None:
        import h5py

        with replacing(self.path) as smaller_path:
            smaller = self._create(smaller_path, self.written)
            for start in range(0, self.written, BLOCK):
                end = min(start + BLOCK, self.written)
                smaller["image"][start:end] = self._file["image"][start:end]
            smaller.close()
            self._file.close()
        self._file = h5py.File(self.path, "r+")


def label_digest(columns: dict[str, np.ndarray | None]) -> int:
    """A digest of the labels among some columns of a database."""
    content = hashlib.sha256()
    for name in LABELS:
        if (column := columns.get(name)) is not None:
            kind = "<f8" if column.dtype.kind == "f" else "<i8"
            content.update(name.encode() + np.ascontiguousarray(column, kind).tobytes())
    return _number_of(content)


def _number_of(content) -> int:
    """64 bits of what a digest of hashlib comes to, as a signed integer."""
    return int.from_bytes(content.digest()[:8], "little", signed=True)


# ---------------------------------------------------------------------------------------------- database in


@dataclass(frozen=True)
class Database:
    """A face database; n rows, row i of every array is one face.

    Attributes:
        source: the file it came from.
        image: (n, size, size, 3) uint8, BGR, mapped from the file, read-only.
        age: (n,) int64, years 0..100, -1 unknown.
        gender: (n,) int64, labels.FEMALE, labels.MALE or labels.UNKNOWN.
        db: the dataset's name, as in readers.READERS.
        margin: how far the crops reach beyond the face box, as a share of its size.
        detector: what found the faces; "none" where the dataset came cropped.
        align: whether the faces were turned until their eyes were level.
        subject: (n,) int64, a number for each person, -1 unknown; None where not recorded.
        digest: (n,) int64, equal for byte-identical photos; None where not recorded.
        race, race_names: (n,) int64 index into race_names, -1 unknown; None where not recorded.
        label_low, label_high: (n,) int64, first and last year of a label that is an interval (`age` is -1 there), -1
            where it is none; None where the file has no intervals.
        age_std: (n,) float64, years, how far opinions on the age spread, NaN unknown; None where not recorded.
        part, part_names: (n,) int64 index into part_names, the dataset's own split or fold, -1 in none; None where not
            recorded.
        block_digest: (blocks,) int64, of each BLOCK of images, for `damaged_faces`; None where not recorded.
        earlier_digest: whether these are of an earlier version, SHA-256 and not CRC-32.
        file: the file, open, that `faces` reads images from; None where they are in memory.
    """

    source: Path
    image: np.ndarray
    age: np.ndarray
    gender: np.ndarray
    db: str
    margin: float = ORIGINAL_MARGIN
    detector: str = NO_DETECTOR
    align: bool = False
    subject: np.ndarray | None = None
    digest: np.ndarray | None = None
    race: np.ndarray | None = None
    race_names: tuple[str, ...] = ()
    label_low: np.ndarray | None = None
    label_high: np.ndarray | None = None
    age_std: np.ndarray | None = None
    part: np.ndarray | None = None
    part_names: tuple[str, ...] = ()
    block_digest: np.ndarray | None = None
    earlier_digest: bool = False
    file: BinaryIO | None = None

    def __len__(self) -> int:
        return len(self.age)

    @property
    def image_size(self) -> int:
        """Height and width of the images, in pixels."""
        return self.image.shape[1]

    def column(self, name: str, missing: float) -> np.ndarray:
        """(n,), a column by its name, full of what stands for missing where it is not recorded."""
        values = getattr(self, name)
        return np.full(len(self), missing) if values is None else values

    def faces(self, rows: np.ndarray) -> np.ndarray:
        """The images of some rows, (k, size, size, 3) uint8, in a new array.

        They are read one by one in the order of the file. A memory map reads 62 times as much of a file that is not in
        memory, since the system reads ahead from each place.

        Raises:
            OSError: if the file ends before they do.
            IndexError: if a row is not there.
        """
        if self.file is None or not hasattr(os, "preadv"):  # Windows and older macOS
            return np.asarray(self.image[rows])
        rows = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else np.asarray(rows)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(self):
            raise IndexError(f"{self.source} has rows 0 to {len(self) - 1}; received {rows.min()} to {rows.max()}")
        taken = np.empty((len(rows), *self.image.shape[1:]), np.uint8)
        size, number, start = self.image[:1].nbytes, self.file.fileno(), self.image.offset
        for place in np.argsort(rows, kind="stable").tolist():
            if os.preadv(number, [taken[place]], start + int(rows[place]) * size) != size:
                raise OSError(f"{self.source} ends before its images do")
        return taken

    def fingerprint(self) -> str:
        """Short hex digest of the labels: the same for the same faces, whatever the file's name and image size."""
        content = hashlib.sha256(f"{self.db} {len(self)}".encode())
        for name in ("age", "gender", "digest", "subject", "part"):
            if (column := getattr(self, name)) is not None:
                content.update(name.encode() + np.ascontiguousarray(column, "<i8").tobytes())
        return content.hexdigest()[:16]


def open_database(path: Path) -> Database:
    """Opens a database of ours (mapped, whatever its size) or one of the original suite (read into memory).

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is no face database, with what is wrong in it.
    """
    import h5py

    path = Path(path)
    if not path.is_file():
        remedy = "name the databases in it" if path.is_dir() else "create_db.py makes databases"
        raise FileNotFoundError(f"{path} {why_absent(path)}; {remedy}")
    with reading(path, f"{path} cannot be read as a database: it is cut off or damaged, make it again"):
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                content = _read_hdf5(path, file)
        else:
            content = _read_matlab5(path)
        return _checked(path, content)


def _read_hdf5(path: Path, file) -> dict[str, object]:
    content = {}
    for name in file:
        if name not in READ:  # what nobody asked for, and the paths, which are many and seldom wanted
            content[name] = None
            continue
        dataset = own_dataset(path, file, name)
        kind = dataset.attrs.get("MATLAB_class", b"")
        if name == "image":
            content[name], content[FILE] = _mapped(path, dataset)
        else:
            content[name] = tuple(map(_text, dataset[()])) if kind == b"char" else read_values(path, dataset)
    return content


def _mapped(path: Path, dataset) -> tuple[np.ndarray, BinaryIO | None]:
    """The images, mapped where they lie in one piece, and the file that they are mapped from."""
    offset = dataset.id.get_offset()  # from the start of the file, its user block included
    if offset is None:  # compressed or chunked, as MATLAB itself saves
        return dataset[()], None
    if offset + dataset.size * dataset.dtype.itemsize > path.stat().st_size:
        raise OSError("the file ends before its images do")
    file = open(path, "rb", buffering=0)  # stays open: its name may be another file's by the time that rows are read
    return np.memmap(file, dataset.dtype, "r", offset, dataset.shape), file


def _text(units: np.ndarray) -> str:
    return units.astype("<u2").tobytes().decode("utf-16-le", "surrogatepass").rstrip("\0")


def _read_matlab5(path: Path) -> dict[str, object]:
    with reading(path, f"{path} is no face database, which create_db.py makes"):
        loaded = _load_matlab5(path)
    content = {name: value for name, value in loaded.items() if not name.startswith("__")}
    if _texts(path, content, "db", "")[0] in ORIGINAL_UTKFACE and "gender" in content:
        given = content["gender"]  # in UTKFace's order, as the original stored it
        content["gender"] = np.select([given == 0, given == 1], [MALE, FEMALE], given)
    return content


def _checked(path: Path, content: dict[str, object]) -> Database:
    if missing := [name for name in ("image", "age", "gender") if name not in content]:
        found = ", ".join(sorted(content.keys() - {FILE})) or "nothing"
        raise ValueError(f"{path} is no face database: it lacks {', '.join(missing)} and holds {found}")
    image = content["image"]
    if image.dtype != np.uint8 or image.ndim != 4 or image.shape[3] != 3 or not 0 < image.shape[1] == image.shape[2]:
        raise ValueError(f"{path}: 'image' must be (n, size, size, 3) uint8; received {image.shape} {image.dtype}")

    column = partial(_column, path, content)
    blocks = -(-len(image) // BLOCK)
    labels = {name: column(name, len(image), np.float64 if name == "age_std" else np.int64) for name in LABELS}
    unknown = np.full(len(image), UNKNOWN)
    low, high = (unknown if labels[name] is None else labels[name] for name in ("age_low", "age_high"))
    if np.any((low > high) | ((low == UNKNOWN) & (high != UNKNOWN))):
        raise ValueError(f"{path}: 'age_low' and 'age_high' are not the ends of intervals")
    if not len(image):
        raise ValueError(f"{path} holds no faces")
    margin, align = _number(path, content, "margin", ORIGINAL_MARGIN), _number(path, content, "align", 0)
    if align not in (0, 1):
        raise ValueError(f"{path}: 'align' is {align:g}, neither 0 nor 1")
    if not 0 <= margin <= MOST_MARGIN:
        raise ValueError(f"{path}: 'margin' is {margin:g}, not a share from 0 to {MOST_MARGIN}")
    names = {name: _texts(path, content, name) for name in ("race_names", "part_names")}
    for name in ("race", "part"):
        count = len(names[f"{name}_names"])
        if (values := labels[name]) is not None and np.any((values < UNKNOWN) | (values >= count)):
            raise ValueError(f"{path}: '{name}' has numbers beyond the {count} of its '{name}_names'")
    was = content.get(LABEL_DIGEST)
    if was is not None and np.ravel(was).tolist() != [label_digest(labels)]:
        raise ValueError(
            f"{path}: its labels are not those that were written; make it again, or, if they were changed on purpose, "
            f"delete '{LABEL_DIGEST}' from it"
        )
    return Database(
        source=path,
        image=image,
        db=_texts(path, content, "db", path.stem)[0],
        margin=margin,
        detector=_texts(path, content, "detector", NO_DETECTOR)[0],
        align=bool(align),
        label_low=labels.pop("age_low"),  # the file's names, which others read too
        label_high=labels.pop("age_high"),
        **names,
        block_digest=column(BLOCK_DIGESTS if BLOCK_DIGESTS in content else EARLIER_DIGESTS, blocks),
        earlier_digest=BLOCK_DIGESTS not in content,
        file=content.get(FILE),
        **labels,
    )


def _column(path: Path, content: dict[str, object], name: str, entries: int, kind=np.int64) -> np.ndarray | None:
    """(entries,), a dataset whose values are within BOUNDS; None where it is not there."""
    if content.get(name) is None:
        return None
    values = _numbers(path, content, name)
    if len(values) != entries:
        raise ValueError(f"{path}: '{name}' has {len(values)} entries for {len(content['image'])} images")
    with np.errstate(invalid="ignore"):  # of NaN, which is no whole number
        taken = values.astype(kind)
    wrong = (taken != values) if kind is np.int64 else np.zeros(len(values), bool)
    low, high = BOUNDS.get(name, (-np.inf, np.inf))
    if count := int(np.sum(wrong | (taken < low) | (taken > high))):
        allowed = f"outside {low}..{high}, or not whole" if name in BOUNDS else "no whole numbers"
        raise ValueError(f"{path}: {count} of {len(values)} values of '{name}' are {allowed}")
    return taken


def damaged_faces(database: Database) -> list[range]:
    """The rows of a database in whose images something has changed since they were written, block by block.

    Every image is read once, on all cores. A database without digests, of an earlier version, has none to find.
    """
    if database.block_digest is None:
        return []
    starts = range(0, len(database), BLOCK)

    def digest_of(start: int) -> int:
        block = np.ascontiguousarray(database.image[start : start + BLOCK])
        return _number_of(hashlib.sha256(block)) if database.earlier_digest else zlib.crc32(block)

    with ThreadPoolExecutor(available_cores()) as pool:
        found = pool.map(digest_of, starts)
        pairs = zip(starts, found, database.block_digest.tolist(), strict=True)
        return [range(start, min(start + BLOCK, len(database))) for start, is_now, was in pairs if is_now != was]


def check_faces(databases: list[Database]) -> None:
    """Raises ValueError if images of a database have changed since they were written."""
    for database in databases:
        if damaged := damaged_faces(database):
            raise ValueError(
                f"{database.source} is damaged: faces {damaged[0].start:,} to {damaged[0].stop - 1:,}"
                f"{f' and {len(damaged) - 1:,} more blocks' if len(damaged) > 1 else ''} are not what was written; "
                "make it again"
            )


def _numbers(path: Path, content: dict[str, object], name: str) -> np.ndarray:
    """The numbers or truth values that a dataset holds, (k,)."""
    values = np.ravel(content[name])
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{path}: '{name}' holds no numbers")
    return values


def _number(path: Path, content: dict[str, object], name: str, default: float) -> float:
    """The one number that a dataset holds."""
    values = _numbers(path, {name: default, **content}, name)
    if len(values) != 1:
        raise ValueError(f"{path}: '{name}' holds {len(values)} numbers, not one")
    return float(values[0])


def _texts(path: Path, content: dict[str, object], name: str, *default: str) -> tuple[str, ...]:
    """The texts that a dataset holds: MATLAB's characters, or the strings of h5py and of cells."""
    found = content.get(name, default)
    if isinstance(found, tuple):
        return found or default
    found = np.ravel(found)
    if found.dtype.kind not in "SUO" or not len(found):
        raise ValueError(f"{path}: '{name}' holds no text")
    return tuple(each.decode() if isinstance(each, bytes) else str(np.squeeze(each)) for each in found.tolist())


def read_paths(path: Path, opened: BinaryIO | None = None) -> list[str]:
    """The file name of every row of a 7.3 database, relative to its dataset's folder; [] where not recorded. Where it
    is `opened`, that file is read: its name may be another's by now."""
    import h5py

    if not opened and not h5py.is_hdf5(path):
        return []
    with reading(path, f"{path} has paths that cannot be read"), h5py.File(opened or path, "r") as file:
        if "path" not in file:
            return []
        found = read_values(path, own_dataset(path, file, "path"))
        characters = found.ndim == 2 and found.dtype.kind == "u"  # or strings, as h5py writes them
        paths = list(map(_text, found)) if characters else list(_texts(path, {"path": found}, "path"))
        if len(paths) != len(file["image"]):
            raise ValueError(f"{path} has {len(paths)} paths for {len(file['image'])} images")
        return paths


def paths_of(databases: list[Database], needed_by: str = "") -> list[str]:
    """The photo of each face of some databases, one after the other, as `read_paths` says it; "" where one does not.

    Raises:
        ValueError: if one does not, and something needs it.
    """
    found = []
    for database in databases:
        paths = read_paths(database.source, database.file)
        if needed_by and not paths:
            raise ValueError(f"{database.source} does not say which photos its faces come from: {needed_by} needs that")
        found += paths or [""] * len(database)
    return found


class ImageStack:
    """The images of several databases one after the other: takes arrays of row numbers; copies nothing before.

    Args:
        databases: one or more, with images of one size, or of any where `size` says which they are to have.
        size: height and width in pixels that images are resized to when they are taken; None leaves them as they are.

    Raises:
        ValueError: if the sizes differ and none is asked for.
    """

    def __init__(self, databases: list[Database], size: int | None = None):
        sizes = {database.image_size for database in databases}
        if len(sizes) > 1 and size is None:
            named = ", ".join(f"{database.source} {database.image_size}" for database in databases)
            raise ValueError(f"databases must have images of one size; received {named}")
        size = size or sizes.pop()
        self._databases = databases
        self._starts = np.cumsum([0, *map(len, databases)])
        self.shape = (int(self._starts[-1]), size, size, 3)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        size = self.shape[1]
        if len(self._databases) == 1 and self._databases[0].image_size == size:
            return self._databases[0].faces(rows)
        from age_gender.faces import resize_square

        rows = np.asarray(rows)
        taken = np.empty((len(rows), *self.shape[1:]), np.uint8)
        owner = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(owner):
            mine, database = owner == number, self._databases[number]
            found = database.faces(rows[mine] - self._starts[number])
            taken[mine] = found if database.image_size == size else [resize_square(image, size) for image in found]
        return taken


def labels_of(databases: list[Database], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ages and genders, (n,) each, of some rows, which go on from one database to the next."""
    return tuple(np.concatenate([getattr(each, name) for each in databases])[rows] for name in ("age", "gender"))
