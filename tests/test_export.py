"""Exported models: their formulas against NumPy, each format run by its own runtime, the proof, and what is refused."""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import make_database, noise, posix, predict_eagerly, write_database

import demo
import evaluate
import export
import train
from age_gender import runtimes
from age_gender.description import Description
from age_gender.files import alone
from age_gender.intervals import Calibration, age_interval, tempered
from age_gender.labels import AGE_SCALES, MALE, expected_age
from age_gender.predictor import Predictor
from networks import backbones, checkpoints, open_model

keras = pytest.importorskip("keras")
if keras.backend.backend() != "tensorflow":
    pytest.skip("Keras exports with TensorFlow", allow_module_level=True)

from networks import export as converting  # noqa: E402
from networks import proof  # noqa: E402
from networks.split import sides_of, split  # noqa: E402
from wide_resnet import two_heads  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
CALIBRATION = Calibration(0.9, -0.64, 0.7, ages=554, genders=554, bands=((0.0, -0.64), (30.0, 1.5)))


def works(form: str) -> bool:
    """Whether what the format needs is installed, and Keras is new enough for it."""
    try:
        converting.check(form, "float32")
    except ValueError:
        return False
    return True


INSTALLED = [
    pytest.param(form, marks=pytest.mark.skipif(not works(form), reason=f"{form} is not installed"))
    for form in converting.NEEDED
]


@pytest.fixture(autouse=True)
def few_runs(monkeypatch):
    """No latency is measured in earnest here."""
    monkeypatch.setattr(proof, "RUNS", 1)


def test_the_scripts_table_of_formats_is_the_librarys():
    assert set(export.SUFFIXES) == {*runtimes.FORMATS, "saved_model"} == set(converting.NEEDED)
    assert set(converting.NEEDED) == set(converting.CONVERTERS)
    assert set(proof.LIMITS) == set(export.PRECISIONS)


def test_the_requirements_are_those_that_the_errors_name():
    needed = {package for packages in converting.NEEDED.values() for _, package in packages}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["optional-dependencies"]["export"], *(line for line in project["dependencies"] if "onnx" in line)]
    tensorflow = converting.NEEDED["saved_model"][0][1]
    assert needed == {*lines, tensorflow}
    assert tensorflow in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()


# --------------------------------------------------------------------------------------------- the graph's formulas


def distributions(kind: str, rng: np.random.Generator, count: int = 400) -> np.ndarray:
    """(count, 101) float32: bells, single years, ages drawn at random, or a few ages at the ends."""
    years = np.arange(101)
    if kind == "bells":
        weight = np.exp(-(((years - rng.uniform(0, 100, (count, 1))) / rng.uniform(0.3, 15, (count, 1))) ** 2) / 2)
    elif kind == "single":
        weight = np.eye(101)[rng.integers(0, 101, count)]
    elif kind == "drawn":
        weight = rng.dirichlet(np.full(101, 0.05), count) + 1e-12
    else:
        weight = np.exp(rng.normal(0, 8, (count, 101)))
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("kind", ("bells", "single", "drawn", "steep"))
@pytest.mark.parametrize("seed", range(6))
def test_intervals_ages_and_genders_are_those_of_numpy(kind, seed):
    rng = np.random.default_rng(seed)
    age, gender = distributions(kind, rng), rng.dirichlet([0.2, 0.2], 400).astype(np.float32)
    gender[:2] = [[0, 1], [1, 0]]
    bands = tuple((first, rng.normal(0, 4)) for first in (0.0, 20.0, 50.0)) if seed % 2 else ()
    calibration = Calibration(rng.uniform(0.5, 0.98), rng.normal(0, 4), rng.uniform(0.1, 5), bands=bands)
    checkpoint = Description("", {}, 32, calibration=calibration)
    tensors = map(keras.ops.convert_to_tensor, (gender, age))
    said = {name: np.asarray(values) for name, values in converting.answers(*tensors, checkpoint).items()}
    low, high = age_interval(age, calibration)
    # Sums in another order differ in the seventh digit, so an end that is a whole year to that digit may go either way.
    assert np.mean(said["age_low"] != low) <= 0.005 and np.abs(said["age_low"] - low).max() <= 1
    assert np.mean(said["age_high"] != high) <= 0.005 and np.abs(said["age_high"] - high).max() <= 1
    assert said["age_low"].dtype == np.int32 and np.ptp(low) > 20
    np.testing.assert_allclose(
        said["pred_gender"][:, MALE], tempered(gender[:, MALE], calibration.temperature), atol=2e-6
    )
    np.testing.assert_allclose(said["pred_gender"].sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(said["expected_age"], expected_age(age), atol=1e-4)


def test_without_a_calibration_or_with_groups_there_is_no_interval_and_genders_are_as_they_were():
    age, gender = np.full((2, 2), 0.5, np.float32), np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    groups = Description("", {}, 32, age_scale=AGE_SCALES["adult_child"], calibration=Calibration(widen=None))
    said = converting.answers(*map(keras.ops.convert_to_tensor, (gender, age)), groups)
    assert set(said) == {"pred_gender", "pred_age", "expected_age"}
    np.testing.assert_array_equal(np.asarray(said["pred_gender"]), gender)
    np.testing.assert_allclose(np.asarray(said["expected_age"]), (8.5 + 59) / 2)


# ------------------------------------------------------------------------------------------------- whole files


@pytest.fixture(scope="module")
def weights(tiny_checkpoint_file, tmp_path_factory) -> Path:
    """The tiny network with a calibration, and mirrored."""
    path = tmp_path_factory.mktemp("calibrated") / "weights.07-4.56.hdf5"
    model, checkpoint = checkpoints.load(tiny_checkpoint_file)
    checkpoints.save(model, path, replace(checkpoint, mirror=True, calibration=CALIBRATION))
    return path


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    """40 images of 32 pixels with ages and genders."""
    rng = np.random.default_rng(5)
    ages, genders = rng.integers(1, 90, 40), rng.integers(0, 2, 40)
    return write_database(tmp_path_factory.mktemp("db") / "faces.mat", noise(40, 32), age=ages, gender=genders)


@pytest.fixture(scope="module")
def own(weights):
    """The tiny network as Keras has it."""
    return checkpoints.load(weights)[0]


@pytest.fixture(scope="module")
def family(weights, drawn) -> tuple[np.ndarray, list]:
    """A picture, and the faces that Keras's network finds in it."""
    picture = cv2.imread(str(drawn / "photos" / "family.jpg"))
    return picture, Predictor(open_model(weights))(picture)


SMALLER = ("onnx", "openvino")  # of which files in half precision and in int8 are tried too


@pytest.fixture(scope="module")
def exported(weights, database, tmp_path_factory):
    """form -> the tiny network in it, written by the script's main, once each; beside it what the script said."""
    folder, made = tmp_path_factory.mktemp("exported"), {}

    def make(form: str) -> Path:
        if form not in made:
            path = folder / f"age_gender{export.SUFFIXES[form]}"
            if form != "saved_model":
                path.write_bytes(b"the one before")
            arguments = ["--format", form, "--weight_file", str(weights), "-o", str(path), "--faces", "20"]
            if form in SMALLER:
                arguments += ["--precision", "float32", "float16", "int8", "--input", str(database)]
            with contextlib.redirect_stdout(io.StringIO()) as said:
                assert export.main([*arguments, "--overwrite"]) == 0, said.getvalue()
            (folder / f"{form}.txt").write_text(said.getvalue(), encoding="utf-8")
            made[form] = path
        return made[form]

    return make


@pytest.mark.parametrize("form", INSTALLED)
@pytest.mark.parametrize("count", (1, 5))
def test_a_file_says_of_any_number_of_faces_what_keras_and_numpy_say(exported, own, form, count):
    images = noise(count, 32, seed=3)
    gender, age = predict_eagerly(own)(images)
    said = open_model(exported(form), trust=True).run(images)
    low, high = age_interval(age, CALIBRATION)
    assert {name: (values.dtype, values.shape) for name, values in said.items()} == {
        "pred_gender": (np.float32, (count, 2)),
        "pred_age": (np.float32, (count, 101)),
        "expected_age": (np.float32, (count,)),
        "age_low": (np.int32, (count,)),
        "age_high": (np.int32, (count,)),
    }
    np.testing.assert_allclose(said["pred_age"], age, atol=1e-5)
    np.testing.assert_allclose(said["expected_age"], age @ np.arange(101), atol=1e-3)
    np.testing.assert_allclose(said["pred_gender"][:, MALE], tempered(gender[:, MALE], 0.7), atol=1e-5)
    np.testing.assert_array_equal(said["age_low"], low)
    np.testing.assert_array_equal(said["age_high"], high)
    assert np.ptp(images) and not np.allclose(gender[:, MALE], said["pred_gender"][:, MALE], atol=1e-4)


@pytest.mark.parametrize("form", INSTALLED)
def test_a_file_says_what_it_is(exported, weights, form):
    checkpoint = open_model(exported(form), trust=True).description
    source = checkpoints.inspect(weights)
    assert checkpoint.calibration == CALIBRATION._replace(temperature=1.0)  # its genders are calibrated already
    assert checkpoint.origin == f"exported from {weights.name}"
    for name in ("image_size", "margin", "detector", "align", "age_scale", "genders", "arguments", "mirror"):
        assert getattr(checkpoint, name) == getattr(source, name), name
    assert runtimes.format_of(exported(form)) == (None if form == "saved_model" else form)
    assert checkpoints.is_exported(exported(form))


def test_an_age_scale_of_groups_survives(tmp_path):
    scale = AGE_SCALES["adience"]
    source = Description("wide_resnet", {"depth": 10}, 64, margin=0.1, detector="yunet", align=True, age_scale=scale)
    said = json.loads(source.exported_json("weights.hdf5", "int8"))
    assert said["colours"] == "BGR" and said["genders"] == ["F", "M"] and said["precision"] == "int8"
    back = Description.from_json(json.dumps(said), tmp_path)
    assert replace(back, origin=source.origin) == source


@pytest.mark.skipif(not works("onnx"), reason="onnx is not installed")
def test_networks_of_keras_applications_leave_too_or_say_why_not(tmp_path, monkeypatch):
    def grouped(image_size, num_ages):  # what ConvNeXt has that tf2onnx lacks
        image = keras.Input((image_size, image_size, 3), dtype="uint8")
        x = keras.layers.Conv2D(4, 3, groups=2)(keras.layers.Conv2D(4, 3)(keras.layers.Rescaling(1 / 255)(image)))
        return keras.Model(image, two_heads(keras.layers.GlobalAveragePooling2D()(x), num_ages=num_ages))

    monkeypatch.setitem(backbones.BACKBONES, "convnext_tiny", grouped)
    for network in ("mobilenet_v3_small", "convnext_tiny"):
        checkpoint = Description(network, {}, 32)
        checkpoints.save(backbones.build(checkpoint), tmp_path / f"{network}.hdf5", checkpoint)
    options = ["--faces", "3", "--output", str(tmp_path / "model.onnx")]
    assert export.main(["--weight_file", str(tmp_path / "mobilenet_v3_small.hdf5"), *options]) == 0
    with pytest.raises(ValueError, match="is a grouped convolution, which tf2onnx cannot write: take --format litert"):
        export.main(["--weight_file", str(tmp_path / "convnext_tiny.hdf5"), *options, "--overwrite"])
    assert (tmp_path / "model.onnx").is_file() and not list(tmp_path.glob(".new-*"))


@pytest.mark.parametrize("form", INSTALLED)
def test_the_predictor_takes_a_file_for_a_checkpoint(exported, family, form):
    picture, keras_own = family
    ours = Predictor(open_model(exported(form), trust=True))(picture)
    assert len(ours) == len(keras_own) == 3
    for one, other in zip(ours, keras_own, strict=True):
        assert (one.box, one.gender, one.unsure, one.interval) == (
            other.box,
            other.gender,
            other.unsure,
            other.interval,
        )
        assert one.age == pytest.approx(other.age, abs=1e-3) and one.p_male == pytest.approx(other.p_male, abs=1e-5)
        assert one.interval is not None


RUN_DEMO = """
import sys
import demo
status = demo.main(sys.argv[1:])
loaded = {name for name, module in sys.modules.items() if module}
print("LOADED", *sorted({"keras", "tensorflow", "jax", "openvino_telemetry"} & loaded))
sys.exit(status)
"""


@pytest.mark.parametrize("form", [param for param in INSTALLED if param.values[0] != "saved_model"])
def test_the_demo_runs_a_file_without_keras(exported, drawn, tmp_path, form):
    image = str(drawn / "photos" / "family.jpg")
    command = ["--weight_file", str(exported(form)), "--image", image, "--no_display", "--output_dir", str(tmp_path)]
    done = run_python("-c", RUN_DEMO, *command, folder=tmp_path, path=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"
    assert "exported from weights.07-4.56.hdf5" in done.stdout
    rows = json.loads((tmp_path / "predictions.json").read_text(encoding="utf-8"))
    assert len(rows) == 3 and all(row["age_low"] <= row["age_high"] for row in rows)


def run_python(*command: str, folder: Path, path: Path | str = "") -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        timeout=300,
    )


# --------------------------------------------------------------------------------------- the docs' few lines


def snippets() -> dict[str, str]:
    """runtime's module -> the lines for it in docs/export.md."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(encoding="utf-8"), re.DOTALL)
    return {module: next(b for b in blocks if module in b) for module in ("onnxruntime", "ai_edge_litert", "openvino")}


@pytest.mark.parametrize("form", [param for param in INSTALLED if param.values[0] != "saved_model"])
def test_the_docs_lines_run_as_they_stand_without_keras(exported, own, tmp_path, form):
    lines = snippets()[runtimes.FORMATS[form].module]
    (tmp_path / "exported").mkdir()
    for file in exported(form).parent.glob("age_gender.*"):
        if file.is_file():
            shutil.copy(file, tmp_path / "exported")
    face = cv2.resize(noise(1, 16, seed=9)[0], (90, 90), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "face.png"), face)
    cv2.imwrite(str(tmp_path / "face.jpg"), face)
    ending = '\nimport sys\nassert not {"keras", "tensorflow", "jax"} & set(sys.modules)\n'
    (tmp_path / "snippet.py").write_text(lines + ending, encoding="utf-8")
    done = run_python("snippet.py", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    read = cv2.imread(str(tmp_path / "face.jpg"))
    gender, age = predict_eagerly(own)(cv2.resize(read, (32, 32), interpolation=cv2.INTER_AREA)[None])
    low, high = age_interval(age, CALIBRATION)
    p_male = tempered(gender[:, MALE], CALIBRATION.temperature)[0]
    assert done.stdout.strip() == f"{expected_age(age)[0]:.1f} years, {low[0]} to {high[0]}, male {p_male:.3f}"


# ---------------------------------------------------------------------------------------------------- the proof


onnx_installed = pytest.mark.skipif(not works("onnx"), reason="onnx is not installed")


@onnx_installed
def test_a_model_that_differs_fails_and_what_was_there_stays(weights, tmp_path, monkeypatch, capsys):
    path = tmp_path / "faces.onnx"
    path.write_bytes(b"the one before")
    genuine = converting.answers

    def altered(gender, age, checkpoint):
        said = genuine(gender, age, checkpoint)
        return {**said, "expected_age": said["expected_age"] + 0.02}

    monkeypatch.setattr(converting, "answers", altered)
    arguments = ["--weight_file", str(weights), "-o", str(path), "--faces", "9", "--overwrite"]
    with alone(path), pytest.raises(ValueError, match="another run is at work on .*faces.onnx; wait for it"):
        export.main(arguments)
    assert export.main(arguments) == 1
    assert path.read_bytes() == b"the one before"
    assert (tmp_path / "faces.failed.onnx").is_file() and len(list(tmp_path.iterdir())) == 2
    assert "FAILED: age 0.02" in capsys.readouterr().out


@posix
def test_a_full_disk_is_said_of_the_file_before_tensorflow_meets_it(weights, tmp_path):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "new" / "faces"
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1]))
    try:
        with pytest.raises(OSError, match=r"new.faces was not written, [\d,]+ bytes: File too large"):
            export.main(["--weight_file", str(weights), "-o", str(path), "--format", "saved_model", "--faces", "9"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not path.parent.exists()


@onnx_installed
def test_what_another_run_has_made_meanwhile_is_not_replaced(weights, tmp_path, monkeypatch):
    path = tmp_path / "faces.onnx"

    @contextlib.contextmanager
    def after_another(path):
        path.write_text("another run's")
        yield

    monkeypatch.setattr(export, "alone", after_another)
    with pytest.raises(ValueError, match="faces.onnx is there already; --overwrite replaces it"):
        export.main(["--weight_file", str(weights), "-o", str(path), "--faces", "9"])
    assert path.read_text() == "another run's"


@pytest.mark.parametrize(("name", "files"), [("a.onnx", ["a.onnx"]), ("a.xml", ["a.bin", "a.xml"]), ("a", ["a"])])
def test_what_failed_takes_the_place_of_nothing(name, files, tmp_path):
    for folder in ("new", "place"):
        for file in files:
            (tmp_path / folder / file).parent.mkdir(parents=True, exist_ok=True)
            if name == "a":
                (tmp_path / folder / file).mkdir()
            else:
                (tmp_path / folder / file).write_text(folder)
    path = tmp_path / "place" / name
    export.put(tmp_path / "new" / name, export.failed_name(path))
    found = sorted(each.name for each in path.parent.iterdir())
    assert found == sorted([*files, *(f"a.failed{file[1:]}" for file in files)])


def test_openvinos_weights_are_not_replaced_unasked(tmp_path):
    (tmp_path / "a.bin").write_text("mine")
    parser = export.build_parser()
    args = parser.parse_args(["--weight_file", "x", "--format", "openvino", "-o", str(tmp_path / "a.xml")])
    args.precision = ["float32"]
    with pytest.raises(ValueError, match=r"a\.bin is there already; --overwrite replaces it"):
        export.choose_outputs(parser, args)


@pytest.mark.parametrize("form", [param for param in INSTALLED if param.values[0] in SMALLER])
def test_smaller_files_are_written_beside_with_what_they_cost(exported, form):
    path, suffix = exported(form), export.SUFFIXES[form]
    said = (path.parent / f"{form}.txt").read_text(encoding="utf-8")
    assert "20 of 40 faces in" in said and re.search(r"int8 .* \([+-]0\.\d{3}\)", said)
    weight = suffix if form == "onnx" else ".bin"
    sizes = [path.with_name(f"age_gender{name}{weight}").stat().st_size for name in ("", ".float16", ".int8")]
    assert sizes[0] > 1.5 * sizes[1] > sizes[1] > sizes[2]
    images = noise(6, 32, seed=8)
    whole, half, whole_numbers = (
        open_model(path.with_name(f"age_gender{name}{suffix}"), trust=True).run(images)["pred_age"]
        for name in ("", ".float16", ".int8")
    )
    assert 0 < np.abs(half - whole).max() < np.abs(whole_numbers - whole).max() < 0.2


@onnx_installed
def test_int8_says_the_same_on_every_processor(exported):
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(exported("onnx").with_name("age_gender.int8.onnx")).graph
    weights = [
        weight for weight in graph.initializer if weight.data_type == onnx.TensorProto.INT8 and len(weight.dims) == 4
    ]
    most = [np.abs(onnx.numpy_helper.to_array(weight).astype(int)).max() for weight in weights]
    assert most and max(most) <= 64  # products of 8 bits by 8 overflow where a processor lacks VNNI


@pytest.mark.parametrize("name, limits", proof.LIMITS.items())
def test_each_limit_is_kept_and_no_number_passes_for_one(name, limits):
    within = {field: limit or 0 for field, limit in limits._asdict().items()}
    assert proof.too_far(within, limits) == []
    for field, limit in limits._asdict().items():
        if limit is not None:
            assert proof.too_far({**within, field: limit * 1.01 + 1e-6}, limits)
    assert proof.too_far({**within, "mae": np.nan, "accuracy": np.nan}, limits) == []  # no labels
    field = next(field for field in ("age", "mean_age") if getattr(limits, field) is not None)
    assert proof.too_far({**within, field: np.nan}, limits)


def test_differences_by_hand():
    gender, age = np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([20.0, 40.0])
    ends = {"age_low": np.array([10, 30]), "age_high": np.array([30, 50])}
    faces = proof.Faces(None, np.array([20, 50]), np.array([0, 1]), None, "")
    wanted = {"pred_gender": gender, "expected_age": age, **ends}
    said = {**wanted, "expected_age": np.array([21.0, 38.0]), "age_low": np.array([10, 28])}
    said["pred_gender"] = np.array([[0.9, 0.1], [0.6, 0.4]])
    found = proof.differences(said, wanted, faces)
    assert found == pytest.approx(
        {"age": 2, "mean_age": 1.5, "p_male": 0.2, "interval": 2, "same": 0.5, "mae": 6.5 - 5, "accuracy": 0.5}
    )
    with pytest.raises(ValueError, match="age_high is not there"):
        proof.differences({name: said[name] for name in said if name != "age_high"}, wanted, faces)


# ------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("form, module", [(f, m) for f, needed in converting.NEEDED.items() for m, _ in needed[1:]])
def test_what_is_lacking_is_named_with_the_line_that_installs_it(weights, tmp_path, monkeypatch, form, module):
    monkeypatch.setitem(sys.modules, module, None)
    package = dict(converting.NEEDED[form])[module]
    with pytest.raises(ValueError, match=r"pip install .*" + re.escape(f'"{package}"')):
        export.main(
            ["--format", form, "--weight_file", str(weights), "-o", str(tmp_path / f"a{export.SUFFIXES[form]}")]
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", [form for form in runtimes.FORMATS if form != "saved_model"])
def test_the_demo_names_the_runtime_that_is_lacking(tmp_path, monkeypatch, form):
    monkeypatch.setitem(sys.modules, runtimes.FORMATS[form].module, None)
    path = tmp_path / f"faces{export.SUFFIXES[form]}"
    path.write_bytes(b"model")
    with pytest.raises(ValueError, match="pip install .*" + re.escape(runtimes.FORMATS[form].package)):
        Predictor(open_model(path))


@pytest.mark.parametrize("form", INSTALLED)
def test_a_file_that_is_damaged_or_not_ours_is_refused(exported, tmp_path, form):
    if form == "saved_model":
        path = tmp_path / "model"
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"no model")
    else:
        path = tmp_path / exported(form).name
        path.write_bytes(exported(form).read_bytes()[:3000])
        path.with_suffix(".bin").write_bytes(b"weights")
    with pytest.raises(ValueError, match="was not written by export.py, or it is damaged"):
        Predictor(open_model(path, trust=True))


@pytest.mark.parametrize("form", [param for param in INSTALLED if param.values[0] in ("onnx", "litert")])
def test_a_flipped_bit_is_noticed_and_an_older_file_taken(exported, tmp_path, form):
    path = tmp_path / exported(form).name
    content = bytearray(exported(form).read_bytes())
    for place in range(200, len(content) - 4000, len(content) // 20):  # what is said of the model is behind that
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match="was not written by export.py, or it is damaged"):
            runtimes.open_model(path)
    path.write_bytes(content.replace(runtimes.WEIGHTS.encode(), b"another_programs__"))  # as before version 0.17
    assert runtimes.open_model(path).description.path == path


@onnx_installed
def test_an_onnx_file_that_another_program_changed_is_taken(exported, tmp_path):
    import onnx

    graph = onnx.load(exported("onnx"))
    graph.doc_string = "made smaller"
    onnx.save(graph, tmp_path / "changed.onnx")
    assert runtimes.open_model(tmp_path / "changed.onnx").description.image_size


@onnx_installed
def test_an_onnx_file_of_another_suite_is_refused(exported, tmp_path):
    import onnx

    graph = onnx.load(exported("onnx"))
    del graph.metadata_props[:]
    onnx.save(graph, tmp_path / "other.onnx")
    with pytest.raises(ValueError, match="was not written by export.py, or it is damaged: 'age_gender' is not found"):
        Predictor(open_model(tmp_path / "other.onnx"))


@pytest.mark.parametrize("form", [param for param in INSTALLED if param.values[0] == "openvino"])
def test_openvinos_weights_are_missed_by_their_name(exported, form, tmp_path):
    path = tmp_path / "faces.xml"
    path.write_bytes(exported(form).read_bytes())
    with pytest.raises(FileNotFoundError, match=r"faces\.bin is not there: an OpenVINO model is two files"):
        open_model(path)
    weights = exported(form).with_suffix(".bin").read_bytes()
    path.with_suffix(".bin").write_bytes(weights[:500])
    with pytest.raises(ValueError, match="faces.xml was not .* damaged: Incorrect weights in bin file"):
        open_model(path)
    path.with_suffix(".bin").write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(ValueError, match="faces.bin is damaged, or another model's"):
        open_model(path)


def test_what_takes_a_checkpoint_refuses_an_exported_model(tmp_path):
    path = tmp_path / "faces.onnx"
    path.write_bytes(b"model")
    for script, more in ((export, []), (demo, ["--depth", "16"])):
        with pytest.raises(ValueError, match="is an exported model, which demo.py runs"):
            script.main(["--weight_file", str(path), *more])
    with pytest.raises(ValueError, match="which does not know its training: name databases with --input"):
        evaluate.main(["--weight_file", str(path)])


def test_bad_arguments_are_refused(weights, tmp_path, capsys):
    there = tmp_path / "there.onnx"
    there.touch()
    (tmp_path / "folder.onnx").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    for arguments, message in (
        (["-o", str(there)], "is there already; --overwrite"),
        (["-o", str(tmp_path / "folder.onnx"), "--overwrite"], "is a folder"),
        (["--format", "saved_model", "-o", str(there), "--overwrite"], "is a file"),
        (["--format", "saved_model", "-o", str(tmp_path / "photos"), "--overwrite"], "is a folder of something else"),
        (["-o", str(tmp_path / "a.onnx"), "--weight_file", str(tmp_path / "nowhere.hdf5")], "is not there"),
        (["-o", str(tmp_path / "a.onnx"), "--weight_file", __file__], "is no checkpoint"),
    ):
        with pytest.raises((ValueError, OSError), match=message):
            export.main(arguments)
    for arguments, message in (
        (["-o", "faces.tflite"], "ends in .onnx"),
        (["--format", "saved_model", "--precision", "int8"], "written in float32 alone"),
        (["--faces", "0"], "is not 1 or more"),
    ):
        with pytest.raises(SystemExit) as ended:
            export.main(arguments)
        assert ended.value.code == 2 and message in capsys.readouterr().err.splitlines()[-1]


@onnx_installed
def test_int8_takes_the_portraits_where_there_is_no_database(weights, tmp_path, capsys):
    path = tmp_path / "faces.onnx"
    export.main(["--weight_file", str(weights), "-o", str(path), "--precision", "int8"])
    said = capsys.readouterr().out
    assert "12 of 24 faces in the photos of" in said and "portraits" in said
    faces = proof.photographed_faces(export.PORTRAITS, checkpoints.inspect(weights), 5)
    assert faces.image.shape == (5, 32, 32, 3) and faces.ranging.shape == (12, 32, 32, 3)
    assert not any(np.array_equal(one, other) for one in faces.image for other in faces.ranging)
    assert set(faces.age) == {-1}


@onnx_installed
def test_databases_that_are_missing_or_too_small_are_refused(weights, tmp_path):
    base = ["--weight_file", str(weights), "-o", str(tmp_path / "a.onnx")]
    with pytest.raises(FileNotFoundError, match="nowhere.mat is not there"):
        export.main([*base, "--input", str(tmp_path / "nowhere.mat")])
    with pytest.raises(SystemExit):
        export.main([*base, "--input", "a.mat", "--image_dir", "photos"])
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "noise.png"), noise(1, 64)[0])
    with pytest.raises(ValueError, match="photos: 0 faces were found in its photos, and two or more are needed"):
        export.main([*base, "--precision", "int8", "--image_dir", str(tmp_path / "photos")])
    small = write_database(tmp_path / "small.mat", noise(3, 32))
    with pytest.raises(ValueError, match="3 faces are too few"):
        export.main([*base, "--precision", "int8", "--input", str(small)])
    assert not (tmp_path / "a.onnx").exists()


def test_the_limits_are_those_that_the_help_promises():
    assert proof.LIMITS == {
        "float32": proof.Limits(age=0.01, p_male=0.001, interval=1),
        "float16": proof.Limits(mean_age=0.05, mae=0.02, accuracy=0.005),
        "int8": proof.Limits(mean_age=1.0, mae=0.2, accuracy=0.01),
    }


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0,), (1,), (1, 0, 2)])
def test_the_proof_is_made_with_faces_kept_for_a_test_in_any_order_and_of_any_part(order):
    databases = [make_database(60, 8, seed=seed, db=name) for seed, name in enumerate(("wiki", "imdb", "utkface"))]
    own = databases[:2]
    rows = split(own, 0.2, 0, 0.2)
    sides, _ = sides_of(own, rows)
    said = {"databases": [database.fingerprint() for database in own]}
    description = Description("wide_resnet", {}, 8, split=said, sides=sides)
    images = np.concatenate([database.image for database in own])
    training, _, test = ({image.tobytes() for image in images[side]} for side in rows)
    faces = proof.held_out_faces([databases[number] for number in order], description, 500, 0)
    compared, ranging = ({image.tobytes() for image in chosen} for chosen in (faces.image, faces.ranging))
    assert compared and compared <= test and ranging and ranging <= training
    assert "that were kept for a test" in faces.words
    if len(order) >= 2:
        assert compared == test


def test_without_a_test_part_the_proof_takes_the_faces_that_chose_and_of_other_databases_any():
    own, other = make_database(60, 8, seed=1), make_database(30, 8, seed=2, db="utkface")
    training, validation, _ = rows = split([own], 0.2, 0)
    said = {"databases": [own.fingerprint()]}
    description = Description("wide_resnet", {}, 8, split=said, sides=sides_of([own], rows)[0])
    faces = proof.held_out_faces([own], description, 500, 0)
    assert np.array_equal(faces.image, own.image[validation]) and "that chose the checkpoint" in faces.words
    assert len(proof.held_out_faces([other], description, 500, 0).image) == 30
    before = replace(description, sides=sides_of([own], (validation[:1], training[:1], training[:0]))[0])
    again = replace(description, sides=sides_of([own], rows, [before])[0])  # what began it had another split
    faces = proof.held_out_faces([own], again, 500, 0)
    assert np.array_equal(faces.image, own.image[validation[1:]])


def test_a_saved_model_runs_only_where_it_is_trusted(tmp_path, faces):
    model, photo = tmp_path / "model", tmp_path / "a.png"
    model.mkdir()
    (model / "saved_model.pb").write_bytes(b"any program")
    cv2.imwrite(str(photo), noise(1, 40)[0])
    for use in (
        lambda: open_model(model),
        lambda: demo.main([*("--image", str(photo), "--weight_file", str(model), "--output_dir", str(tmp_path / "o"))]),
        lambda: evaluate.main(["--weight_file", str(model), "--input", str(faces)]),
        lambda: train.main(["-i", str(faces), "--teacher", str(model), "--output_dir", str(tmp_path)]),
    ):
        with pytest.raises(ValueError, match="model is a SavedModel, which is a program .* say --trust"):
            use()
