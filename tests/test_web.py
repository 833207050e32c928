"""The page in the browser, as far as no browser is needed: its crop under Node.js, its server, and how it is gathered.
`make test-web` tries the rest in Chromium. Run as a script, this file writes docs/phone.json anew."""

import http.client
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from age_gender import browser
from age_gender.detectors import shrunk
from age_gender.faces import box_problem, crop_face, read_image

ROOT = Path(__file__).resolve().parent.parent
WEB = ROOT / "web"
PHONE, VECTOR = ROOT / "docs" / "phone.md", ROOT / "docs" / "phone.json"
PICTURE = ROOT / "samples" / "portraits" / "E000295.jpg"
MARGIN, SIZE = 0.1, 128
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="Node.js is not here")

# What Node.js runs: the pictures are files of R, G, B, A; each case's crop and shrunk picture go beside its own.
PAGE = """
import { readFileSync, writeFileSync } from "fs";
import { cropFace, shrunk } from "CROP";
for (const { file, width, height, box, margin } of JSON.parse(readFileSync(process.argv[2]))) {
  const image = { data: readFileSync(file), width, height };
  writeFileSync(`${file}.crop`, cropFace(image, box, margin, 128));
  writeFileSync(`${file}.small`, shrunk(image, 320).data);
}
"""
PHONES = """
const { readFileSync, writeFileSync } = require("fs");
CROP
for (const { file, width, height, box } of JSON.parse(readFileSync(process.argv[2])))
  writeFileSync(`${file}.crop`, cropFace(readFileSync(file), width, height, box));
"""


def run_node(folder: Path, name: str, program: str, cases: list) -> None:
    """Runs a program of JavaScript on (picture BGR, box, margin), which lie in a folder as 0, 1, ..."""
    said = []
    for number, (image, box, margin) in enumerate(cases):
        cv2.cvtColor(image, cv2.COLOR_BGR2RGBA).tofile(folder / str(number))
        height, width = image.shape[:2]
        said.append({"file": str(folder / str(number)), "width": width, "height": height, "box": box, "margin": margin})
    (folder / "cases.json").write_text(json.dumps(said), encoding="utf-8")
    (folder / name).write_text(program, encoding="utf-8")
    subprocess.run(["node", str(folder / name), str(folder / "cases.json")], check=True, timeout=120)


def drawn_cases() -> list:
    """Boxes of all sizes and shapes, within pictures and beyond their edges."""
    rng = np.random.default_rng(0)
    cases = []
    for number in range(40):
        height, width = (int(side) for side in rng.integers(40, 700, 2))
        noise = cv2.GaussianBlur(rng.integers(0, 256, (height, width, 3), np.uint8), (0, 0), rng.uniform(0.3, 3))
        image = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)
        x, y, side = rng.uniform(-30, width - 10), rng.uniform(-30, height - 10), rng.uniform(5, min(height, width))
        across = min(side * (rng.uniform(0.3, 3) if number % 4 == 0 else 1), 1.4 * width)
        cases.append((image, [float(value) for value in (x, y, x + across, y + side)], MARGIN))
    cases = [case for case in cases if not box_problem(case[1], *case[0].shape[1::-1])]
    square = cv2.resize(cases[0][0], (256, 256))
    assert len(cases) > 30
    return [*cases, (square, [0, 0, 256, 256], 0), (square[:40], [0, 0, 256, 40], 0), (square, [10, 10, 15, 15], 0.1)]


@needs_node
def test_the_page_cuts_faces_as_the_library_does(tmp_path):
    cases = drawn_cases()
    run_node(tmp_path, "page.mjs", PAGE.replace("CROP", (WEB / "crop.js").as_uri()), cases)
    kinds = set()
    for number, (image, box, margin) in enumerate(cases):
        pairs = [(crop_face(image, box, margin, SIZE), "crop"), (shrunk(image, 320)[0], "small")]
        for expected, end in pairs:
            found = np.fromfile(tmp_path / f"{number}.{end}", np.uint8).reshape(expected.shape)
            apart = np.abs(found.astype(int) - expected)
            assert apart.max() <= 1 and np.mean(apart > 0) < 0.002  # where a value lies halfway between two
        kinds.add(max(box[2] - box[0], box[3] - box[1]) * (1 + 2 * margin) > 1.6 * SIZE)
    assert kinds == {False, True}


# What Node.js runs for the detector: the network's outputs are those of some cells, by the search that they are of.
DETECTOR = """
import { readFileSync, writeFileSync } from "fs";
import { boxProblem } from "CROP";
import { findFaces } from "YUNET";
const { boxes, size, cells, settings } = JSON.parse(readFileSync(process.argv[2]));
const sizes = { cls: 1, obj: 1, bbox: 4, kps: 10 };
function network(planes, height, width) {
  const outputs = {};
  for (const stride of [8, 16, 32])
    for (const name in sizes)
      outputs[`${name}_${stride}`] = new Float32Array((sizes[name] * width * height) / stride ** 2);
  for (const { stride, column, row, ...said } of cells[width])
    for (const name in sizes)
      outputs[`${name}_${stride}`].set(said[name], (row * (width / stride) + column) * sizes[name]);
  return outputs;
}
const image = { data: new Uint8Array(size[0] * size[1] * 4), width: size[0], height: size[1] };
const faces = await findFaces(network, image, settings);
writeFileSync(process.argv[3], JSON.stringify({ faces, fits: boxes.map((box) => !boxProblem(box, image)) }));
"""


@needs_node
def test_the_page_finds_faces_as_the_detector_does(tmp_path):
    from age_gender.detectors import square_around, yunet

    size = 640, 480
    corners = [[-1.0, -0.8], [1.1, -0.9], [0.1, 0.2], [-0.7, 0.9], [0.8, 1.0]]

    def cell(stride, column, row, score, side, wide=1.0):
        box = [0.5, 0.5, float(np.log(side * wide / stride)), float(np.log(side / stride))]
        points = [value * side / 4 / stride + 0.5 for point in corners for value in point]
        said = {"cls": [0.99 * score], "obj": [score / 0.99], "bbox": box, "kps": points}
        return {"stride": stride, "column": column, "row": row} | said

    first, large = cell(8, 20, 30, 0.9, 80, 0.95), cell(32, 4, 2, 0.95, 100)
    cells = {
        # The second overlaps the first by a third, the third is not sure enough, the fourth is within a surer one.
        640: [first, cell(8, 25, 30, 0.85, 78), cell(16, 30, 2, 0.79, 60), cell(16, 30, 20, 0.82, 40)],
        320: [large, cell(16, 3, 13, 0.99, 79), cell(32, 7, 5, 0.83, 100, 0.5)],  # of 160 pixels and more alone
    }
    kept = [(large, 2), (first, 1), (cells[320][2], 2)]
    names = ("longest_side", "few_pixels", "large", "least_side", "least_score", "overlap", "factor")
    settings = {name: getattr(yunet, name.upper()) for name in names}
    rng = np.random.default_rng(0)
    boxes = np.sort(rng.integers(-1000, 2000, (200, 2, 2)), axis=1).reshape(200, 4).tolist()
    boxes += [[640, 0, 700, 50], [-60, 0, 0, 50], [0, 480, 50, 500], [0, -20, 50, 0], [9, 9, 9, 20], [0, 0, 960, 720]]
    (tmp_path / "cells.json").write_text(
        json.dumps({"boxes": boxes, "size": size, "cells": cells, "settings": settings}), encoding="utf-8"
    )
    program = DETECTOR.replace("CROP", (WEB / "crop.js").as_uri()).replace("YUNET", (WEB / "yunet.js").as_uri())
    (tmp_path / "page.mjs").write_text(program, encoding="utf-8")
    words = [str(tmp_path / name) for name in ("page.mjs", "cells.json", "found.json")]
    subprocess.run(["node", *words], check=True, timeout=120)
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert found["fits"] == [not box_problem(tuple(box), *size) for box in boxes] and 0 < sum(found["fits"]) < 200
    for face, (one, shrink) in zip(found["faces"], kept, strict=True):
        points = (np.reshape(one["kps"], (5, 2)) + (one["column"], one["row"])) * one["stride"] * shrink
        np.testing.assert_allclose(face["box"], square_around(points, yunet.FACTOR), atol=0.01)
        assert face["score"] == pytest.approx(one["cls"][0] ** 0.5 * one["obj"][0] ** 0.5)


@needs_node
def test_the_phones_crop_has_the_answers_of_the_library(tmp_path):
    from age_gender.predictor import Predictor

    [crop] = re.findall(r"```javascript\n(.*?)```", PHONE.read_text(encoding="utf-8"), re.DOTALL)
    image, vector = read_image(PICTURE), json.loads(VECTOR.read_text(encoding="utf-8"))
    run_node(
        tmp_path, "phone.cjs", PHONES.replace("CROP", crop), [(image, each["box"], MARGIN) for each in vector["faces"]]
    )
    crops = np.stack([np.fromfile(tmp_path / f"{n}.crop", np.uint8).reshape(SIZE, SIZE, 3) for n in range(3)])
    ages, p_male = Predictor().predict(crops)
    for each, face, age, male in zip(vector["faces"], crops, ages, p_male, strict=True):
        np.testing.assert_allclose(face.mean(axis=(0, 1)), each["mean"], atol=0.3)
        for y, x, *pixel in each["pixels"]:
            np.testing.assert_allclose(face[y, x], pixel, atol=2)
        assert abs(age - each["expected_age"]) < 0.1 and abs(male - each["pred_gender"][1]) < 0.01


def test_the_numbers_for_phones_are_the_models():
    said, found = json.loads(VECTOR.read_text(encoding="utf-8")), vector_of_the_model()
    assert {**said, "faces": []} == {**found, "faces": []}
    for one, other in zip(said["faces"], found["faces"], strict=True):
        assert one.keys() == other.keys() and one.pop("what") == other.pop("what")
        for name, value in other.items():
            np.testing.assert_allclose(one[name], value, atol=0.02, err_msg=name)


def vector_of_the_model() -> dict:
    """What docs/phone.json says."""
    from age_gender.runtimes import SHIPPED, open_model

    image, run, faces = read_image(PICTURE), open_model(SHIPPED).run, []
    for what, box in (("shrinks", [10, 40, 215, 245]), ("grows", [70, 80, 150, 160]), ("beyond", [-20, 60, 120, 200])):
        face = crop_face(image, tuple(box), MARGIN, SIZE)
        said = {name: output[0] for name, output in run(face[None]).items()}
        faces.append(
            {
                "what": what,
                "box": box,
                "mean": [round(float(value), 2) for value in face.mean(axis=(0, 1))],
                "pixels": [[y, x, *map(int, face[y, x])] for y, x in ((0, 0), (64, 64), (127, 100))],
                "expected_age": round(float(said["expected_age"]), 2),
                "age_low": int(said["age_low"]),
                "age_high": int(said["age_high"]),
                "pred_gender": [round(float(share), 4) for share in said["pred_gender"]],
            }
        )
    return {"image": PICTURE.relative_to(ROOT).as_posix(), "margin": MARGIN, "size": SIZE, "faces": faces}


# --------------------------------------------------------------------------------------------------------- the server


@pytest.fixture
def page(tmp_path):
    """A server of a folder with a page; (address, port)."""
    for name in ("index.html", "app.js", "ort.mjs", "ort.wasm", "model.json"):
        (tmp_path / "dist" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "dist" / name).write_text(name, encoding="utf-8")
    (tmp_path / "secret.txt").write_text("secret", encoding="utf-8")
    with browser.server(tmp_path / "dist") as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server.server_address
        server.shutdown()


def asked(page, path: str):
    connection = http.client.HTTPConnection(*page, timeout=10)
    connection.request("GET", path)
    return connection.getresponse()


def test_the_server_is_for_this_machine_alone(page):
    assert page[0] == "127.0.0.1" and page[1] > 0


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html"),
        ("/app.js", "text/javascript"),
        ("/ort.mjs", "text/javascript"),
        ("/ort.wasm", "application/wasm"),
        ("/model.json", "application/json"),
    ],
)
def test_browsers_get_the_types_that_they_ask_for(page, path, kind):
    answer = asked(page, path)
    assert answer.status == 200 and answer.headers["Content-Type"].partition(";")[0] == kind
    assert answer.headers["Content-Security-Policy"].startswith(browser.POLICY)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "//secret.txt"])
def test_nothing_beside_the_page_is_served(page, path):
    assert asked(page, path).status == 404


def test_the_page_and_the_server_have_one_policy_which_names_no_other_host():
    html = (WEB / "index.html").read_text(encoding="utf-8")
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy == browser.POLICY
    sources = {source for part in policy.split(";") for source in part.split()[1:]}
    assert sources == {"'none'", "'self'", "'wasm-unsafe-eval'", "blob:"}


def test_demo_says_where_the_page_comes_from_if_it_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="make web .* gathers the page"):
        browser.serve(tmp_path, print, opens=False)


@pytest.mark.parametrize(
    "words", [["photo.jpg"], ["--weight_file", "a.onnx"], ["--detector", "dlib"], ["--image", "a.jpg"]]
)
def test_demo_refuses_what_the_page_does_not_heed(words, capsys):
    import demo

    with pytest.raises(SystemExit) as ended:
        demo.main(["--browser", *words])
    assert ended.value.code == 2 and "--browser" in capsys.readouterr().err


def test_demo_serves_the_page_until_it_is_stopped(tmp_path, monkeypatch, capsys):
    import demo

    folder = tmp_path / "web" / "dist"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text("page", encoding="utf-8")
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "demo.py"))
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    def stopped(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(browser.ThreadingHTTPServer, "serve_forever", stopped)
    assert demo.main(["--browser"]) == 0
    [address] = opened
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address) and address in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------ how it is made


@pytest.fixture
def gather(monkeypatch, tmp_path):
    """web/gather.py, whose cache holds an archive like ONNX Runtime's."""
    import tarfile

    monkeypatch.syspath_prepend(WEB)
    import gather

    monkeypatch.setattr(gather, "CACHE", tmp_path / "cache")
    (tmp_path / "cache").mkdir()
    with tarfile.open(tmp_path / "cache" / gather.ARCHIVE, "w:gz") as archive:
        for name in gather.PARTS:
            (tmp_path / name).write_text(name, encoding="utf-8")
            archive.add(tmp_path / name, f"package/dist/{name}")
    monkeypatch.setattr(gather, "SHA256", gather.checksum_of(tmp_path / "cache" / gather.ARCHIVE, "sha256"))
    return gather


def test_the_page_is_gathered_with_all_it_names(gather, tmp_path):
    folder = tmp_path / "dist"
    assert gather.main(["--output_dir", str(folder), "--no_yunet"]) == 0
    said = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert said["detector"] is None and said["genders"] == ["F", "M"]
    assert (said["image_size"], said["margin"], said["unsure_below"]) == (SIZE, MARGIN, 0.75)
    assert (folder / said["file"]).read_bytes() == (ROOT / "age_gender" / "age_gender.onnx").read_bytes()
    for path in [*folder.glob("*.js"), folder / "index.html"]:
        text = path.read_text(encoding="utf-8")
        named = re.findall(r'(?:from|src=|href=|Worker\()\s*"([^"#]+)"', text)
        assert all((folder / name).is_file() for name in named), path
        assert not re.search(r"https?://(?!www\.w3\.org)", text.replace("at https:// and", "")), path


def test_yunets_numbers_are_the_detectors(gather, tmp_path, shared, monkeypatch):
    from age_gender.detectors import yunet

    monkeypatch.setattr(yunet, "FOLDERS", (shared / "data" / "yunet",))
    gather.main(["--output_dir", str(tmp_path / "dist")])
    gather.main(["--output_dir", str(tmp_path / "dist")])  # takes the place of the first
    said = json.loads((tmp_path / "dist" / "model.json").read_text(encoding="utf-8"))["detector"]
    assert (tmp_path / "dist" / said["file"]).stat().st_size == yunet.SIZE
    assert (said["factor"], said["least_score"], said["large"]) == (yunet.FACTOR, yunet.LEAST_SCORE, yunet.LARGE)
    assert not list(tmp_path.glob(".new-*"))


def test_what_is_no_page_is_not_replaced(gather, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match="holds something else"):
        gather.main(["--output_dir", str(tmp_path / "photos")])
    assert (tmp_path / "photos" / "a.jpg").is_file()
    gather.main(["--output_dir", str(tmp_path / "site"), "--no_yunet"])
    (tmp_path / "site" / "CNAME").write_text("faces.example", encoding="utf-8")
    with pytest.raises(ValueError, match="holds something else, CNAME"):
        gather.main(["--output_dir", str(tmp_path / "site")])


def npm_that(monkeypatch, gather, brings: bytes | None, says: str = "") -> None:
    """Has npm bring a file, or fail."""

    def run(command, cwd, **settings):
        assert [Path(command[0]).name, *command[1:3]] == ["npm", "pack", gather.RUNTIME]
        if brings is not None:
            (cwd / gather.ARCHIVE).write_bytes(brings)
        return subprocess.CompletedProcess(command, int(brings is None), "", says)

    monkeypatch.setattr(gather.shutil, "which", lambda name: "/usr/bin/npm")
    monkeypatch.setattr(gather.subprocess, "run", run)


def test_onnx_runtime_that_cannot_be_had_is_said_in_a_line(gather, tmp_path, monkeypatch):
    (gather.CACHE / gather.ARCHIVE).write_bytes(b"cut off")
    words = ["--output_dir", str(tmp_path / "dist")]
    monkeypatch.setattr(gather.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="npm, which fetches onnxruntime-web@.* is not there; install Node.js"):
        gather.main(words)
    npm_that(monkeypatch, gather, None, "npm error code ENOTFOUND\nnpm error more")
    with pytest.raises(ValueError, match="npm could not fetch .*: npm error code ENOTFOUND; is the network there?"):
        gather.main(words)
    npm_that(monkeypatch, gather, b"another file")
    with pytest.raises(ValueError, match="is another file than expected: its sha256 is"):
        gather.main(words)
    assert not (tmp_path / "dist").exists()


if __name__ == "__main__":
    VECTOR.write_text(json.dumps(vector_of_the_model(), indent=1) + "\n", encoding="utf-8")
    sys.exit(0)
