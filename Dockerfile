# Reads faces in photos, on the CPU: a line of CSV for each face.
#
#     docker build -t age-gender .
#     docker run --rm -v "$PWD/photos:/photos:ro" age-gender /photos > faces.csv
#
# 0.4 GB beside Python's own image. No TensorFlow, no Keras; nothing is sent anywhere.

FROM python:3.12-slim AS build
WORKDIR /suite
COPY pyproject.toml README.md LICENSE ./
COPY age_gender age_gender
# The headless build of OpenCV needs no graphics libraries, which this image lacks.
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir . \
 && /venv/bin/pip uninstall --yes opencv-python \
 && /venv/bin/pip install --no-cache-dir --no-deps "opencv-python-headless>=4.11,<6"

FROM python:3.12-slim
COPY --from=build /venv /venv
# The detector keeps what it has unfolded in the user's cache.
ENV HOME=/tmp
USER 1000
ENTRYPOINT ["/venv/bin/age-gender"]
CMD ["/photos"]
