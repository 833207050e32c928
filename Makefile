# make quickstart: installs what is needed, reads the portraits with the shipped model, then runs the whole suite on drawn faces
# make test:       installs what the tests need and runs them
# make model:      trains the model that comes with the suite again, from ARCHIVE=UTKFace.tar.gz, PEOPLE=folder,
#                  NETWORK=file and DLIB=file (docs/reproduce_model.md), and replaces checkpoints/age_gender.hdf5 by it;
#                  two hours on two cores with AVX-512 BF16, else longer
# make web:        gathers the page that reads faces in the browser; python demo.py --browser opens it (docs/web.md)
# make test-web:   tries that page in Chromium
# make check:      ruff, ruff format, mypy and the tests
# make fuzz:       5,000 damaged files of every kind the suite reads; what goes wrong is kept in fuzz_wrong/
# make kills:      kills create_db.py and train.py, and looks at what they leave
# Python 3.11 to 3.13; another interpreter: make PYTHON=python3.12 quickstart

PYTHON ?= python3
BIN := .venv/bin

# A server may lack the graphics libraries that OpenCV's windows need; the headless build does without.
define cv2_that_imports
@$(BIN)/python -c 'import cv2' 2>/dev/null || { echo "cv2 does not import: taking opencv-python-headless"; \
  $(BIN)/python -m pip uninstall --quiet --yes opencv-python opencv-python-headless && \
  $(BIN)/python -m pip install --disable-pip-version-check --no-deps \
    "`sed -n 's/^opencv-python/opencv-python-headless/p' requirements.txt`" && $(BIN)/python -c 'import cv2'; }
endef

.PHONY: quickstart model test web test-web check lint fuzz kills clean

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.11 to 3.13 is needed, $(PYTHON) is `$(PYTHON) --version 2>&1`; say make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	$(cv2_that_imports)
	@touch $@

.venv/installed-dev: .venv/installed pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt -e ".[dev]"
	$(cv2_that_imports)
	@touch $@

quickstart: .venv/installed
	rm -rf quickstart
	@echo; echo "1. The shipped model reads 24 portraits."
	$(BIN)/python demo.py --weight_file age_gender/age_gender.onnx --image_dir samples/portraits \
	  --output_dir quickstart/portraits --no_display
	@echo; echo "2. A small network learns from drawn faces, to show the whole path from photos to a model. It knows nothing of real faces."
	$(BIN)/python samples/make_samples.py --output_dir quickstart
	$(BIN)/python create_db.py --data_dir quickstart/wiki_crop --output quickstart/wiki_db.mat --img_size 32
	$(BIN)/python train.py @recipes/quickstart.args
	$(BIN)/python evaluate.py --weight_file quickstart/checkpoints --output_dir quickstart/evaluation
	$(BIN)/python demo.py --weight_file quickstart/checkpoints --image_dir quickstart/photos \
	  --output_dir quickstart/found --no_display
	@echo
	@echo "The quickstart is done. It made:"
	@echo "  quickstart/portraits/               the portraits with the shipped model's answers, and predictions.csv"
	@echo "  quickstart/wiki_crop/, photos/      drawn faces: a dataset, and pictures for the demo"
	@echo "  quickstart/wiki_db.mat              the database of the drawn faces"
	@echo "  `ls -t quickstart/checkpoints/weights.*.hdf5 | head -n 1`  the best checkpoint of the training"
	@echo "  quickstart/checkpoints/             this and earlier checkpoints, history.csv, training_curve.png"
	@echo "  quickstart/evaluation/report.html   how well that checkpoint does on faces held out"
	@echo "  quickstart/found/                   the drawn pictures with its answers, and predictions.csv"

ARCHIVE ?= UTKFace.tar.gz
PEOPLE ?= people
NETWORK ?= faceres-deep.json
DLIB ?= dlib_face_recognition_resnet_model_v1.dat
SETS := aaf fiw gdf groups lfw mtfl
AS_DEMO := --detector dlib --else_whole --margin 0.1 --img_size 128 --overwrite

model: .venv/installed
	@test -f "$(ARCHIVE)" || { echo "$(ARCHIVE) is not there: get UTKFace.tar.gz (aligned and cropped) from" \
	  "susanqq.github.io/UTKFace and say make model ARCHIVE=path/to/UTKFace.tar.gz"; exit 2; }
	@for set in $(SETS); do test -f "$(PEOPLE)/$$set.csv" || { echo "$(PEOPLE)/$$set.csv is not there:" \
	  "docs/reproduce_model.md says how to make it; then say make model PEOPLE=folder"; exit 2; }; done
	@for file in "$(NETWORK)" "$(DLIB)"; do test -f "$$file" || { echo "$$file is not there:" \
	  "docs/reproduce_model.md says how to get it; then say make model NETWORK=path/to/faceres-deep.json" \
	  "DLIB=path/to/dlib_face_recognition_resnet_model_v1.dat"; exit 2; }; done
	rm -rf data/model checkpoints/model
	mkdir -p data/model
	tar -xzf "$(ARCHIVE)" -C data/model
	$(BIN)/python check_dataset.py --db utkface --data_dir data/model/UTKFace --output data/utkface_check.csv --overwrite
	$(BIN)/python create_db.py --db utkface --data_dir data/model/UTKFace --img_size 128 --output data/utkface_128_db.mat \
	  --exclude data/utkface_check.csv --overwrite
	for set in $(SETS); do $(BIN)/python create_db.py --db csv --data_dir "$(PEOPLE)" --table "$(PEOPLE)/$$set.csv" \
	  $(AS_DEMO) --output data/$${set}_db.mat || exit; done
	$(BIN)/python create_db.py --db utkface --data_dir data/model/UTKFace $(AS_DEMO) --output data/utkface_dlib_db.mat \
	  --exclude data/utkface_check.csv
	$(BIN)/python samples/teach.py --network "$(NETWORK)" --utkface data/utkface_128_db.mat data/utkface_dlib_db.mat \
	  --input $(SETS:%=data/%_db.mat) --output data/people_db.mat
	$(BIN)/python train.py @recipes/model.args --weight_file "$(DLIB)"
	$(BIN)/python samples/even.py --weight_file checkpoints/model --input data/people_db.mat \
	  --output checkpoints/new.hdf5
	$(BIN)/python evaluate.py --weight_file checkpoints/new.hdf5 --calibrate --output_dir checkpoints/model/evaluation
	mv checkpoints/new.hdf5 checkpoints/age_gender.hdf5
	$(BIN)/python -m pip install --disable-pip-version-check ".[export]"
	$(BIN)/python export.py --weight_file checkpoints/age_gender.hdf5 --output age_gender/age_gender.onnx --overwrite

# One thread a process: two processes of TensorFlow on two cores would fight for them.
TEST := TF_NUM_INTRAOP_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

test: .venv/installed-dev
	$(TEST)

web: .venv/installed
	$(BIN)/python web/gather.py

.venv/installed-web: .venv/installed-dev
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt -e ".[dev,web]"
	$(cv2_that_imports)
	@touch $@

test-web: .venv/installed-web
	$(BIN)/python -m pytest tests/web

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint
	$(TEST)

fuzz: .venv/installed-dev
	$(BIN)/python tests/fuzz/fuzz.py --count 5000 --keep fuzz_wrong

kills: .venv/installed-dev
	$(BIN)/python tests/fuzz/kills.py

clean:
	rm -rf .venv quickstart web/dist web/.cache
