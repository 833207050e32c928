"""What a file may not do that is opened as HDF5; what databases and checkpoints make of it is tested with them."""

import h5py
import pytest

from age_gender import hdf5


@pytest.mark.parametrize("chunks", [None, (40,)])
def test_texts_are_counted_before_they_are_read_since_all_may_be_one(chunks, tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5, "SMALL", 1 << 16)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("db", (40,), h5py.string_dtype(), chunks=chunks)
        dataset[:] = ["x" * 60_000, *map(str, range(39))]
    with h5py.File(path, "r") as file:
        assert len(hdf5.read_values(path, file["db"])[0]) == 60_000
        dataset = file["db"]
        offset = dataset.id.get_chunk_info(0).byte_offset if chunks else dataset.id.get_offset()
    with open(path, "r+b") as raw:  # each row says where the first one's text is
        raw.seek(offset)
        first = raw.read(16)
        raw.seek(offset)
        raw.write(first * 40)
    with h5py.File(path, "r") as file, pytest.raises(ValueError, match="'/db' holds more text than such a file can"):
        hdf5.read_values(path, file["db"])


def test_a_cell_array_of_matlab_is_refused_by_its_name(tmp_path):
    with h5py.File(tmp_path / "a.mat", "w") as file:
        file["one"] = 1
        file.create_dataset("path", data=[file["one"].ref] * 3, dtype=h5py.ref_dtype)
    with h5py.File(tmp_path / "a.mat") as file, pytest.raises(ValueError, match="'/path' is a cell array of MATLAB"):
        hdf5.read_values(tmp_path / "a.mat", file["path"])
