"""HDF5 files that are not to be trusted, databases and checkpoints: they show no other file's content, and hold no more
than they can."""

from pathlib import Path
from typing import Any

import numpy as np

SMALL, MOST_COMPRESSED = 1 << 26, 200  # bytes; times its file's size: what a dataset may hold
MOST_GROUPS = 100_000  # of a checkpoint's layers


def refuse_what_lies_elsewhere(path: Path, file: Any) -> None:
    """Refuses an open HDF5 file that shows another file's content, by links, external or virtual datasets, or that says
    that it holds more than such a file can: before any of it is read.

    Raises:
        ValueError: with what it is.
    """
    import h5py

    total, groups, most = 0, [file], max(SMALL, MOST_COMPRESSED * path.stat().st_size)
    for group in groups:
        for name in group:
            item = _own(path, group, name)
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                total += item.nbytes
            if total > most or len(groups) > MOST_GROUPS:  # links may go round in a circle
                raise ValueError(f"{path} says that it holds more than such a file can")


def _own(path: Path, group: Any, name: str) -> Any:
    """What a group of an HDF5 file holds under a name, refused where another file's content would be shown."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{path}: '{name}' is a link to another place, and is not followed")
    item = group[name]
    if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
        raise ValueError(f"{path}: '{name}' lies in another file, and is not read")
    return item


def own_dataset(path: Path, file: Any, name: str) -> Any:
    """A dataset whose bytes lie in the file, and are no more than such a file can hold.

    Raises:
        ValueError: if another file's content would be shown, or if it says that it is too large.
    """
    import h5py

    dataset = _own(path, file, name)
    if not isinstance(dataset, h5py.Dataset):
        raise ValueError(f"{path}: '{name}' is no dataset, and is not read")
    if dataset.shape is None:
        raise ValueError(f"{path}: '{name}' holds nothing")
    if dataset.nbytes > max(SMALL, MOST_COMPRESSED * path.stat().st_size):
        raise ValueError(f"{path}: '{name}' says that it holds {dataset.nbytes:,} bytes, more than such a file can")
    return dataset


def read_values(path: Path, dataset: Any) -> Any:
    """What a dataset holds. Of texts of any length all may be one and the same in the file, so that their lengths are
    counted first, which stand before their places; where they do not lie in one piece, step by step."""
    import h5py

    if h5py.check_ref_dtype(dataset.dtype):
        raise ValueError(f"{path}: '{dataset.name}' is a cell array of MATLAB; save its texts as a char array")
    if not dataset.dtype.hasobject or not dataset.shape:
        return dataset[()]
    size, offset = max(1, path.stat().st_size), dataset.id.get_offset()
    problem = f"{path}: '{dataset.name}' holds more text than such a file can"
    if offset is not None and dataset.id.get_storage_size() == 16 * dataset.size:
        lengths = np.fromfile(path, "<u4", 4 * dataset.size, offset=offset)[::4]
        if lengths.sum(dtype=np.int64) > max(SMALL, size):
            raise ValueError(problem)
        return dataset[()]
    found, total = [], 0
    step = max(1, SMALL // size // max(1, int(np.prod(dataset.shape[1:]))))
    for start in range(0, len(dataset), step):
        found.append(dataset[start : start + step])
        total += sum(map(len, found[-1].ravel()))
        if total > max(SMALL, size):
            raise ValueError(problem)
    return np.concatenate(found) if found else dataset[()]
