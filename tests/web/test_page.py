"""The page in a genuine Chromium: what it says of photos, videos and the camera, against what the library says.

    make test-web

Chromium is the machine's own (Debian: apt install chromium). Faces are drawn, of samples/portraits, and of the folder
that AGE_GENDER_SHARED names, where YuNet's file lies too.
"""

import contextlib
import itertools
import json
import os
import re
import shutil
import tarfile
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Error, expect, sync_playwright

import gather
from age_gender import browser
from age_gender.detectors import yunet
from age_gender.faces import crop_face, read_image
from age_gender.intervals import UNSURE_BELOW
from age_gender.predictor import Predictor
from age_gender.runtimes import SHIPPED

ROOT = Path(__file__).resolve().parent.parent.parent
PORTRAITS = sorted((ROOT / "samples" / "portraits").glob("*.jpg"))
NAMES = ("chromium", "chromium-browser", "google-chrome")
SHARED = os.environ.get("AGE_GENDER_SHARED", "")
SLOW = 240_000  # milliseconds, on a busy machine
WIDTH, HEIGHT = 640, 360
expect.set_options(timeout=SLOW)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """Drawn photographs."""
    from sample_sets import write_photos

    folder = tmp_path_factory.mktemp("drawn")
    write_photos(folder, 0)
    return folder


@pytest.fixture(scope="module")
def film(drawn, tmp_path_factory) -> Path:
    """A drawn couple that moves: couple.y4m for a camera, couple.webm of 5 seconds and long.webm of 30 as files."""
    folder = tmp_path_factory.mktemp("film")
    photo = cv2.imread(str(drawn / "couple.jpg"))  # 640 x 480
    frames = [np.roll(photo[60 : 60 + HEIGHT], 2 * step, axis=1) for step in range(30)]
    for name, rate in (("couple.webm", 6), ("long.webm", 1)):
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*"VP80"), rate, (WIDTH, HEIGHT))
        for frame in frames:
            writer.write(frame)
        writer.release()
    with open(folder / "couple.y4m", "wb") as camera:
        camera.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F15:1 Ip A1:1 C420\n".encode())
        for frame in frames:
            camera.write(b"FRAME\n" + cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes())
    return folder


@pytest.fixture(scope="module")
def chromium(film):
    """The browser, with a camera that shows the film."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    assert path, f"none of {', '.join(NAMES)} is here, in which the page is tried (Debian: apt install chromium)"
    camera = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={film / 'couple.y4m'}")
    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path, args=[*camera, *sandbox])
        yield opened
        opened.close()


@contextlib.contextmanager
def served(folder: Path, *options: str):
    """Gathers the page into a folder; its address while it is served."""
    gather.main(["--output_dir", str(folder), *options])
    with browser.server(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield browser.address_of(server)
        server.shutdown()


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """The address of the page without YuNet."""
    with served(tmp_path_factory.mktemp("bare") / "dist", "--no_yunet") as address:
        yield address


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The address of the page with YuNet, which the library takes from the same place."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yunet, "FOLDERS", (*yunet.FOLDERS, Path(SHARED) / "data" / "yunet"))
        try:
            yunet.read_model()
        except FileNotFoundError:
            pytest.skip("YuNet is not here: python download.py yunet brings it, or AGE_GENDER_SHARED names where it is")
        with served(tmp_path_factory.mktemp("whole") / "dist") as address:
            yield address


@pytest.fixture(scope="module")
def either(request):
    """The address of the page with YuNet, or where YuNet is not here of the other."""
    try:
        return request.getfixturevalue("whole")
    except pytest.skip.Exception:
        return request.getfixturevalue("bare")


@pytest.fixture
def visit(chromium):
    """Opens the page at an address, and at the end checks that it asked nobody else for anything, and broke nowhere."""
    contexts, asked, wrong = [], [], []

    def opened(address: str, script: str = "", says: str = "Ready.", **settings):
        context = chromium.new_context(**settings)
        context.add_init_script(script)
        contexts.append((context, address))
        page = context.new_page()
        page.on("request", lambda request: asked.append((request.method, request.url)))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.goto(address)
        expect(page.get_by_role("status")).to_have_text(says)
        return page

    yield opened
    for context, _ in contexts:
        context.close()
    own = tuple(start for _, address in contexts for start in (address, f"blob:{address}"))
    assert len(asked) > 5 and all(method == "GET" and url.startswith(own) for method, url in asked), asked
    assert not wrong


def read(page, *files) -> str:
    """Gives files to the page; what it says at last."""
    page.locator("#files").set_input_files([str(file) for file in files])
    last = f"{len(files)} files are read." if len(files) > 1 else Path(files[0]).name
    expect(page.get_by_role("status")).to_contain_text(last)
    return page.get_by_role("status").inner_text()


def answers(page) -> list[list[dict]]:
    """What it answers, of each picture of each face: box, age, interval, male, gender, unsure."""
    return [
        [json.loads(item.get_attribute("data-face")) for item in figure.locator("li").all()]
        for figure in page.locator("figure").all()
    ]


def compare(found: list[list[dict]], expected: list) -> list[float]:
    """The faces of the page against the library's, which find the same; the differences in age."""
    differences = []
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == len(theirs)
        for face in theirs:
            near = min(ours, key=lambda one: np.abs(np.subtract(one["box"], face.box)).max())
            assert np.abs(np.subtract(near["box"], face.box)).max() < 0.5
            assert near["gender"] == face.gender and abs(near["male"] - face.p_male) < 0.01
            assert near["unsure"] == (max(near["male"], 1 - near["male"]) < UNSURE_BELOW)
            assert np.abs(np.subtract(near["interval"], face.interval)).max() <= 1
            differences.append(abs(near["age"] - face.age))
    return differences


def test_portraits_have_the_answers_of_the_library(whole, visit):
    page = visit(whole)
    assert read(page, *PORTRAITS) == f"{len(PORTRAITS)} files are read."
    predict = Predictor(detector="yunet")
    differences = compare(answers(page), [predict(path) for path in PORTRAITS])
    assert len(differences) == 24 and max(differences) < 0.5
    first = answers(page)[0][0]
    words = page.locator("figure").first.inner_text()
    assert f"{first['age']:.0f} years, {first['interval'][0]} to {first['interval'][1]}, " in words
    assert {"F": "female", "M": "male"}[first["gender"]] in words


@pytest.mark.skipif(not SHARED, reason="AGE_GENDER_SHARED is not set: it names the folder of genuine faces")
def test_genuine_faces_have_the_answers_of_the_library(whole, visit, tmp_path):
    paths = sorted((Path(SHARED) / "data" / "photos").glob("*.jpg"))
    with tarfile.open(Path(SHARED) / "data" / "UTKFace.tar.gz") as archive:
        photos = (member for member in archive if member.isfile() and member.name.endswith(".jpg"))
        for number, member in enumerate(itertools.islice(photos, 190)):
            paths.append(tmp_path / f"{number}.jpg")
            paths[-1].write_bytes(archive.extractfile(member).read())
    page, predict = visit(whole), Predictor(detector="yunet")
    read(page, *paths)
    differences = compare(answers(page), [predict(path) for path in paths])
    print(f"{len(differences)} faces: ages differ by {np.mean(differences):.3f} years, at most {max(differences):.3f}")
    assert len(differences) >= 200 and max(differences) < 0.5


def test_large_and_small_pictures_are_searched_as_the_library_does(whole, visit, drawn, tmp_path):
    family = cv2.imread(str(drawn / "family.jpg"))
    sizes = {"large.png": (2100, 1575), "small.png": (60, 45), "flat.png": (300, 60)}
    for name, size in sizes.items():
        cv2.imwrite(str(tmp_path / name), cv2.resize(family, size, interpolation=cv2.INTER_AREA))
    portrait = cv2.imread(str(PORTRAITS[0]))
    cv2.imwrite(str(tmp_path / "close.png"), cv2.resize(portrait[60:220, 20:180], (1500, 1500)))
    cv2.imwrite(str(tmp_path / "tiny.png"), cv2.resize(portrait, (45, 55)))
    paths = [tmp_path / name for name in (*sizes, "close.png", "tiny.png")]
    page, predict = visit(whole), Predictor(detector="yunet")
    read(page, *paths)
    expected = [predict(path) for path in paths]
    assert len(expected[0]) == 3 and sum(map(len, expected)) >= 5
    assert max(compare(answers(page), expected)) < 0.1


def test_it_shows_how_much_of_the_model_is_there(bare, visit):
    seen = """document.addEventListener("DOMContentLoaded", () => {
      window.seen = [];
      const loading = document.getElementById("loading");
      new MutationObserver(() => {
        if (!loading.hidden) window.seen.push([loading.innerText.trim(), loading.querySelector("progress").value]);
      }).observe(loading, { childList: true, subtree: true, attributes: true });
    });"""
    page = visit(bare, script=seen, bypass_csp=True)
    texts, shares = zip(*page.evaluate("window.seen"), strict=True)
    size = f"{SHIPPED.stat().st_size / 1e6:.0f} MB"
    assert texts[-1] == f"{size.split()[0]} of {size}" and all(text.endswith(f" of {size}") for text in texts)
    assert len(set(texts)) > 3 and shares[-1] == 1 and list(shares) == sorted(shares)
    assert page.locator("#loading").is_hidden()


def test_what_is_chosen_last_is_what_is_shown(either, visit):
    page = visit(either)
    page.locator("#files").set_input_files([str(path) for path in PORTRAITS])
    assert ": 1 face" in read(page, PORTRAITS[1])
    page.wait_for_timeout(1500)
    assert [figure.locator(".title").inner_text() for figure in page.locator("figure").all()] == [PORTRAITS[1].name]


def test_a_photo_is_turned_as_its_exif_says(whole, visit, tmp_path):
    upright = Image.open(PORTRAITS[0])
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "lying.jpg", exif=exif, quality=100, subsampling=0)
    page = visit(whole)
    read(page, tmp_path / "lying.jpg")
    assert max(compare(answers(page), [Predictor(detector="yunet")(PORTRAITS[0])])) < 1  # it was encoded once more


def test_no_face_and_what_cannot_be_read_get_a_sentence_each(whole, visit, drawn, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(PORTRAITS[0].read_bytes()[:300])
    (tmp_path / "broken.webm").write_bytes(b"no video")
    page = visit(whole)
    assert read(page, drawn / "landscape.jpg") == "landscape.jpg: no face was found."
    said = "broken.jpg is no photo that this browser can read, or it is damaged."
    assert read(page, tmp_path / "broken.jpg") == said
    assert "broken.webm is no video that this browser can play, or it is damaged." == read(
        page, tmp_path / "broken.webm"
    )
    together = read(page, PORTRAITS[0], tmp_path / "broken.jpg", drawn / "landscape.jpg")
    assert together == f"2 of 3 files are read. {said} landscape.jpg: no face was found."
    assert read(page, PORTRAITS[0]) == f"{PORTRAITS[0].name}: 1 face"  # it goes on after all that


def test_a_video_is_read_while_it_plays(whole, visit, film):
    page = visit(whole)
    page.locator("#files").set_input_files(str(film / "couple.webm"))
    expect(page.locator("#results")).to_contain_text("pictures a second")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("couple.webm is over.")
    said = page.get_by_role("status").inner_text()
    assert said.endswith("pictures were read, with at most 2 faces at once.")
    assert int(said.split(" is over. ")[1].split()[0]) >= 2
    assert page.get_by_role("button", name="Stop").is_hidden()


def test_a_video_can_be_stopped(whole, visit, film):
    page = visit(whole)
    page.locator("#files").set_input_files(str(film / "long.webm"))
    expect(page.locator("#results")).to_contain_text("pictures a second")
    page.keyboard.press("Escape")
    expect(page.get_by_role("status")).to_contain_text("long.webm was stopped.")


def test_the_camera_is_read_until_it_is_stopped(whole, visit):
    page = visit(whole, permissions=["camera"])
    page.get_by_role("button", name="Camera").click()
    expect(page.locator("#results li").nth(1)).to_contain_text("years")
    ages = [face["age"] for face in answers(page)[0] if face]
    assert len(ages) == 2 and all(0 < age < 100 for age in ages)
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    page.get_by_role("button", name="Go on").click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("status")).to_contain_text("The camera is off.")


def test_a_refused_camera_gets_a_sentence_and_photos_go_on(either, visit):
    page = visit(either, permissions=[])
    session = page.context.new_cdp_session(page)
    refused = {"permission": {"name": "camera"}, "setting": "denied", "origin": either.rstrip("/")}
    session.send("Browser.setPermission", refused)
    page.get_by_role("button", name="Camera").click()
    expect(page.get_by_role("status")).to_contain_text("The camera was refused.")
    assert "Photos work without it" in page.get_by_role("status").inner_text()
    assert ": 1 face" in read(page, PORTRAITS[0])


def test_the_keyboard_reaches_everything(either, visit):
    page = visit(either, permissions=["camera"])
    page.keyboard.press("Tab")
    expect(page.locator("#files")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Camera")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Stop")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("The camera is off.")


DROP = """bytes => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([new Uint8Array(bytes)], "dropped.jpg", { type: "image/jpeg" }));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
}"""


def test_photos_can_be_dropped(either, visit):
    page = visit(either, bypass_csp=True)  # for what the test itself evaluates
    page.evaluate(DROP, list(PORTRAITS[0].read_bytes()))
    expect(page.get_by_role("status")).to_contain_text("dropped.jpg: 1 face")


def test_photos_dropped_while_the_models_load_are_read_after(either, visit):
    photo = list(PORTRAITS[0].read_bytes())
    script = f"addEventListener('DOMContentLoaded', () => ({DROP})({photo}))"
    visit(either, script, says=re.compile("^dropped.jpg: 1 face"))


def luminance(page, selector: str, what: str) -> float:
    """WCAG's relative luminance of a colour on the page, 0..1."""
    text = page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{what}")
    shares = np.array([int(number) for number in text.strip("rgb()").split(",")]) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_by_day_and_night(either, visit, scheme):
    phone = {"viewport": {"width": 360, "height": 740}, "color_scheme": scheme, "has_touch": True}
    page = visit(either, bypass_csp=True, **phone)
    read(page, PORTRAITS[0])
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    ground = luminance(page, "body", "backgroundColor")
    assert ground > 0.8 if scheme == "light" else ground < 0.05
    button = luminance(page, "#camera", "backgroundColor")
    for selector, behind in (("body", ground), (".hint", ground), ("#camera", button)):
        dark, light = sorted((behind, luminance(page, selector, "color")))
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, 1.4.3
    assert page.get_by_role("button", name="Camera").bounding_box()["height"] >= 44


def test_it_says_what_it_is_not_for_and_where_pictures_go(bare, visit):
    page = visit(bare)
    limits = page.get_by_role("region", name="What this is not for").inner_text()
    assert "Not for decisions about people" in limits and "no age checks" in limits
    assert "No picture leaves it" in page.locator("main").inner_text()


def test_the_page_can_ask_nobody_else(bare, chromium):
    context = chromium.new_context()
    page = context.new_page()
    page.goto(bare)
    assert page.evaluate("() => fetch('model.json').then(answer => answer.ok)")
    with pytest.raises(Error, match="Content Security Policy|Failed to fetch"):
        page.evaluate("() => fetch('http://localhost:9/elsewhere', { method: 'POST', body: 'a face' })")
    context.close()


def test_without_yunet_the_user_says_where_the_face_is(bare, visit):
    page, portrait = visit(bare), PORTRAITS[0]
    assert "python download.py yunet" in page.locator("#detector").inner_text()
    assert read(page, portrait) == f"{portrait.name}: 1 face, which is the whole photo"
    [[face]] = answers(page)
    [whole_photo] = Predictor(detector="none")(portrait)
    assert abs(face["age"] - whole_photo.age) < 0.5 and face["gender"] == whole_photo.gender
    canvas, item = page.locator("canvas"), page.locator("#results li")
    before = item.get_attribute("data-face")
    canvas.scroll_into_view_if_needed()
    corner = canvas.bounding_box()
    page.mouse.move(corner["x"] + 60, corner["y"] + 60)
    page.mouse.down()
    page.mouse.move(corner["x"] + 160, corner["y"] + 170)
    page.mouse.up()
    expect(item).not_to_have_attribute("data-face", before)
    [[chosen]] = answers(page)
    np.testing.assert_allclose(chosen["box"], (60, 60, 160, 170), atol=1)
    crop = crop_face(read_image(portrait), tuple(chosen["box"]), 0.1, 128)
    assert abs(chosen["age"] - Predictor().predict(crop[None])[0][0]) < 0.5
    before = item.get_attribute("data-face")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    expect(item).not_to_have_attribute("data-face", before)
    moved = answers(page)[0][0]["box"]
    assert moved[0] > chosen["box"][0] and moved[3] == chosen["box"][3]


def test_without_yunet_the_browsers_own_detector_finds_faces(bare, visit):
    found = "[{ boundingBox: { left: 60, top: 70, right: 160, bottom: 170 } }]"
    page = visit(bare, script=f"self.FaceDetector = class {{ async detect() {{ return {found}; }} }};")
    assert "This browser's own detector finds the faces." in page.locator("#detector").inner_text()
    read(page, PORTRAITS[0])
    [[face]] = answers(page)
    crop = crop_face(read_image(PORTRAITS[0]), (60, 70, 160, 170), 0.1, 128)
    assert face["box"] == [60, 70, 160, 170]
    assert abs(face["age"] - Predictor().predict(crop[None])[0][0]) < 0.1
