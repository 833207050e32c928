"""The plain loops that benchmarks/create_database.py compares with; each reads the photos of a WIKI folder one by one.

    python benchmarks/plain_loop.py bytes DIR                 # reads the files and does nothing with them
    python benchmarks/plain_loop.py decode DIR 64             # cv2.imread and cv2.resize, keeps nothing
    python benchmarks/plain_loop.py database DIR 64 FILE.mat  # the classic way: a list, an array, scipy.io.savemat

It uses no module of the suite.
"""

import os
import sys


def main() -> None:
    """Chooses the loop; prints how many photos it read and their bytes or pixels."""
    loop, folder, *rest = sys.argv[1:]
    if loop == "bytes":
        print(read_bytes(folder))
    elif loop == "decode":
        print(decode(folder, int(rest[0])))
    else:
        write_database(folder, int(rest[0]), rest[1])


def read_bytes(folder: str) -> int:
    """Reads all files below a folder; returns their total size in bytes."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(parent, name), "rb", buffering=0) as file:
                total += len(file.read())
    return total


def decode(folder: str, size: int) -> int:
    """Reads and resizes all photos and forgets them; returns how many."""
    return sum(1 for _ in faces(folder, size, read_metadata(folder)["full_path"][0]))


def write_database(folder: str, size: int, output: str) -> None:
    """All faces in one list, one array, and one MATLAB 5 file with their labels."""
    import numpy as np
    import scipy.io

    metadata = read_metadata(folder)
    images = list(faces(folder, size, metadata["full_path"][0]))
    content = {
        "image": np.array(images),
        "gender": metadata["gender"][0],
        "age": ages(metadata["dob"][0], metadata["photo_taken"][0]),
        "db": "wiki",
        "img_size": size,
        "min_score": 1.0,
    }
    scipy.io.savemat(output, content)


def read_metadata(folder: str):
    """The struct of wiki.mat."""
    import scipy.io

    return scipy.io.loadmat(os.path.join(folder, "wiki.mat"))["wiki"][0, 0]


def faces(folder: str, size: int, paths):
    """Yields each photo as (size, size, 3) uint8 BGR."""
    import cv2

    for path in paths:
        image = cv2.imread(os.path.join(folder, str(path[0])))
        yield cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def ages(births, taken):
    """Years of age in the middle of the year of the photo, born as a MATLAB day."""
    from datetime import datetime

    born = [datetime.fromordinal(max(int(day) - 366, 1)) for day in births]
    return [int(year) - day.year - (day.month >= 7) for day, year in zip(born, taken, strict=True)]


if __name__ == "__main__":
    main()
