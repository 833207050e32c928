# make quickstart: installs what is needed and runs the whole suite on drawn sample faces, in some three minutes
# make test:       installs what the tests need and runs them
# make check:      ruff and the tests
# Python 3.11 to 3.13; another interpreter: make PYTHON=python3.12 quickstart

PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test check clean

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
	  { echo "Python 3.11 to 3.13 is needed, $(PYTHON) is `$(PYTHON) --version 2>&1`; say make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@# A server may lack the graphics libraries that OpenCV's windows need; the headless build does without.
	@$(BIN)/python -c 'import cv2' 2>/dev/null || { echo "cv2 does not import: taking opencv-python-headless"; \
	  $(BIN)/python -m pip uninstall --quiet --yes opencv-python && \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps \
	    "`sed -n 's/^opencv-python/opencv-python-headless/p' requirements.txt`" && $(BIN)/python -c 'import cv2'; }
	@touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

quickstart: .venv/installed
	rm -rf quickstart
	$(BIN)/python samples/make_samples.py --output_dir quickstart
	$(BIN)/python create_db.py --data_dir quickstart/wiki_crop --output quickstart/wiki_db.mat --img_size 32
	$(BIN)/python train.py --input quickstart/wiki_db.mat --aug --depth 10 --width 2 --nb_epochs 80 --batch_size 16 \
	  --monitor val_pred_age_mae --validation_split 0.2 --output_path quickstart/checkpoints
	$(BIN)/python evaluate.py --weight_file quickstart/checkpoints --output_dir quickstart/evaluation
	$(BIN)/python demo.py --weight_file quickstart/checkpoints --image_dir quickstart/photos \
	  --output_dir quickstart/found --no_display
	@echo
	@echo "The quickstart is done. It made:"
	@echo "  quickstart/wiki_db.mat                   the database of drawn faces"
	@echo "  quickstart/checkpoints/                  checkpoints, history.csv, training_curve.png, TensorBoard's logs"
	@echo "  quickstart/evaluation/                   table.txt, metrics.json, predictions.csv and plots"
	@echo "  quickstart/found/                        annotated images, predictions.csv and predictions.json"

test: .venv/installed-dev
	$(BIN)/python -m pytest

check: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/python -m pytest

clean:
	rm -rf .venv quickstart
