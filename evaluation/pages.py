"""Reports as one HTML file each, from the templates beside this file: no script, nothing fetched, pictures inside."""

import base64
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from age_gender.files import write_text

TEMPLATES = Path(__file__).resolve().parent / "templates"


def write_page(path: Path, template: str, **content) -> None:
    """Renders one of TEMPLATES; the page appears under its name only when it is complete. All text of the content is
    escaped; PNGs are bytes, faces (h, w, 3) uint8 BGR arrays."""
    write_text(path, _environment().get_template(template).render(content))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": _cell, "png": _png, "jpeg": _jpeg}
    return environment


def _cell(value) -> str:
    """A table's cell: whole numbers get thousands' commas, None is empty."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return "" if value is None else f"{value:,}" if whole else str(value)


def _png(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode('ascii')}"


def _jpeg(image: np.ndarray) -> str:
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode('ascii')}"
