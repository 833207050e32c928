"""Gathers the page that reads faces in the browser: its own files, the shipped model, ONNX Runtime and YuNet.

    python web/gather.py          # or make web -> web/dist, which python demo.py --browser serves, or any static host

ONNX Runtime comes from npm, in one version whose checksum is compared (33 MB, kept in web/.cache). YuNet is taken from
where python download.py yunet puts it; without it the page says so. web/dist takes 37 MB, and holds all the page needs.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

WEB = Path(__file__).resolve().parent
sys.path.insert(0, str(WEB.parent))

from age_gender import cli  # noqa: E402
from age_gender.detectors import yunet  # noqa: E402
from age_gender.files import replacing, scratch  # noqa: E402
from age_gender.intervals import UNSURE_BELOW  # noqa: E402
from age_gender.labels import YEARS  # noqa: E402
from age_gender.runtimes import SHIPPED, open_model  # noqa: E402
from readers.fetch import checksum_of  # noqa: E402

PAGE = ("index.html", "style.css", "icon.svg", "app.js", "worker.js", "crop.js", "yunet.js")
OF_THE_SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini")  # what macOS and Windows leave in a folder
RUNTIME = "onnxruntime-web@1.30.0"
ARCHIVE = "onnxruntime-web-1.30.0.tgz"
CACHE = WEB / ".cache"
SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
# What computes in WebAssembly alone; the package's other files are for WebGPU, WebGL and Node.
PARTS = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = cli.parser_for(__doc__, "gather.py [--output_dir DIR] [--no_yunet]")
    parser.add_argument("--output_dir", type=Path, default=WEB / "dist", metavar="DIR", help="gets the page")
    parser.add_argument("--no_yunet", action="store_true", help="leave the detector out, even if it is there")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Fetch, gather, put into place."""
    args = build_parser().parse_args(argv)
    archive = fetched(CACHE)
    folder = args.output_dir
    if folder.exists() and (other := not_of_the_page(folder)):
        raise ValueError(f"{folder} holds something else, {other}; name another folder with --output_dir")
    with scratch(folder.parent) as unfinished:
        new = unfinished / "page"
        new.mkdir()
        for name in PAGE:
            shutil.copyfile(WEB / name, new / name)
        unpack(archive, new / "ort")
        detector = None if args.no_yunet else copy_yunet(new)
        describe(new, detector)
        if folder.exists():
            folder.rename(unfinished / "old")
        new.rename(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*")) / 1e6
    print(f"{folder}: {size:.0f} MB, {'with' if detector else 'without'} YuNet; python demo.py --browser opens it")
    return 0


def not_of_the_page(folder: Path) -> str:
    """A name of something that this script has not put into a folder, and would take away; "" where there is none."""
    known = {*PAGE, *OF_THE_SYSTEM, "ort", "model.json", SHIPPED.name, yunet.FILE, f"{yunet.FILE}.LICENSE"}
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else [folder.name]
    return next((name for name in sorted(names) if name not in known), "")


def fetched(cache: Path) -> Path:
    """ONNX Runtime's archive, from npm or from an earlier run.

    Raises:
        ValueError: if npm is not there, cannot fetch it, or brings another file.
    """
    archive = cache / ARCHIVE
    if not archive.is_file() or checksum_of(archive, "sha256") != SHA256:
        if not (npm := shutil.which("npm")):
            raise ValueError(f"npm, which fetches {RUNTIME}, is not there; install Node.js (Debian: apt install npm)")
        with scratch(cache) as folder:
            command = [npm, "pack", RUNTIME, "--loglevel=error", "--pack-destination", "."]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
            if done.returncode or not (folder / ARCHIVE).is_file():
                said = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[0]
                raise ValueError(f"npm could not fetch {RUNTIME}: {said}; is the network there?")
            if (came := checksum_of(folder / ARCHIVE, "sha256")) != SHA256:
                raise ValueError(f"{RUNTIME} is another file than expected: its sha256 is {came}, not {SHA256}")
            with replacing(archive) as new:
                shutil.copyfile(folder / ARCHIVE, new)
    return archive


def unpack(archive: Path, folder: Path) -> None:
    """The parts of ONNX Runtime that the page needs, and its licence."""
    folder.mkdir()
    with tarfile.open(archive) as package:
        for name in PARTS:
            member = package.extractfile(f"package/dist/{name}")
            assert member is not None  # the checksum says that it is there
            with member, open(folder / name, "wb") as file:
                shutil.copyfileobj(member, file)
    write_licence(folder / "LICENSE", RUNTIME, "Copyright (c) Microsoft Corporation")


def write_licence(path: Path, what: str, holder: str) -> None:
    """The MIT licence of what others made, which is the project's own but for the holder."""
    lines = (WEB.parent / "LICENSE").read_text(encoding="utf-8").splitlines()
    text = [holder if line.startswith("Copyright") else line for line in lines]
    path.write_text("\n".join([what, "", *text, ""]), encoding="utf-8")


def copy_yunet(folder: Path) -> dict[str, Any] | None:
    """The detector's file and the numbers that yunet.py works by; None if the file is not there."""
    try:
        content = yunet.read_model()
    except FileNotFoundError:
        return None
    (folder / yunet.FILE).write_bytes(content.tobytes())
    write_licence(folder / f"{yunet.FILE}.LICENSE", yunet.FILE, "Copyright (c) 2020 Shiqi Yu <shiqi.yu@gmail.com>")
    names = ("LEAST_SCORE", "OVERLAP", "LONGEST_SIDE", "FEW_PIXELS", "LARGE", "LEAST_SIDE", "FACTOR")
    return {"file": yunet.FILE, **{name.lower(): getattr(yunet, name) for name in names}}


def describe(folder: Path, detector: dict[str, Any] | None) -> None:
    """Copies the model, and writes what the page has to know of it.

    Raises:
        ValueError: if the page cannot cut faces as the model was trained.
    """
    said = open_model(SHIPPED).description
    if said.align or said.age_scale != YEARS:
        raise ValueError(f"{SHIPPED}: the page knows neither level eyes nor age groups")
    shutil.copyfile(SHIPPED, folder / SHIPPED.name)
    model = {
        "file": SHIPPED.name,
        "bytes": SHIPPED.stat().st_size,
        "image_size": said.image_size,
        "margin": said.margin,
        "genders": said.genders,
        "level": said.calibration.level if said.calibration else None,
        "unsure_below": UNSURE_BELOW,
        "detector": detector,
    }
    (folder / "model.json").write_text(json.dumps(model, indent=1), encoding="utf-8")


if __name__ == "__main__":
    cli.run(main)
