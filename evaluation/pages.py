"""Reports as one HTML file each: no script, nothing fetched, pictures inside; for a screen, a phone and paper."""

import base64
import html
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from age_gender.files import replacing

STYLE = """
:root { color-scheme: light; font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff }
body { max-width: 62rem; margin: 0 auto; padding: 1rem }
h1 { font-size: 1.6rem; line-height: 1.2 } h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem }
p { margin: .4rem 0; max-width: 45rem } .scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; margin: .6rem 0 }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap }
th:first-child, td:first-child { text-align: left } th { font-weight: 600; border-bottom-color: #888 }
figure { margin: .8rem 0 } figure img { max-width: 100%; height: auto } figcaption { font-size: .85rem; color: #555 }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 0 1.5rem }
.figures figure { align-self: end }
.faces { display: flex; flex-wrap: wrap; gap: .5rem }
.group { border: 1px solid #ccc; border-radius: 4px; padding: .3rem }
.face { width: 5.5rem; font-size: .75rem; line-height: 1.25; text-align: center; overflow-wrap: anywhere }
.face img { width: 5.5rem; height: 5.5rem; display: block; object-fit: contain; background: #eee }
@media (max-width: 30rem) { table { font-size: .8rem } th, td { padding: .2rem .3rem } }
@media print {
  :root { font-size: 10px } body { max-width: none; padding: 0 } h2 { break-after: avoid }
  .scroll { overflow: visible } th, td { padding: .1rem .35rem }
  .figures { grid-template-columns: 1fr 1fr }
  figure, .group, tr, .face { break-inside: avoid }
}
"""


def write_page(path: Path, title: str, sections: Iterable[tuple[str, list[str]]]) -> None:
    """Writes a page; the file appears under its name only when it is complete.

    Args:
        path: of the page.
        title: text.
        sections: pairs of a heading (text; "" none) and its parts, HTML as the functions below make it.
    """
    body = [f"<h1>{html.escape(title)}</h1>"]
    for heading, parts in sections:
        body += [f"<h2>{html.escape(heading)}</h2>"] * bool(heading) + parts
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{html.escape(title)}</title>'
    )
    content = "\n".join(["<!doctype html>", f'<html lang="en"><head>{head}<style>{STYLE}</style></head><body>', *body])
    with replacing(path) as temporary:
        temporary.write_text(content + "\n</body></html>\n", encoding="utf-8", errors="backslashreplace")


def paragraph(text: str) -> str:
    """Text as a paragraph."""
    return f"<p>{html.escape(text)}</p>"


def table(rows: Iterable[tuple], headers: tuple[str, ...]) -> str:
    """Rows of texts and numbers; whole numbers get thousands' commas, None is an empty cell."""

    def cell(value) -> str:
        number = isinstance(value, int | np.integer) and not isinstance(value, bool)
        return "" if value is None else f"{value:,}" if number else html.escape(str(value))

    head = "".join(f"<th>{html.escape(name)}</th>" for name in headers)
    lines = "".join("<tr>" + "".join(f"<td>{cell(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def figure(picture: bytes, says: str) -> str:
    """A PNG with what it says in words."""
    caption = html.escape(says)
    return f'<figure><img alt="{caption}" src="{_inline(picture, "png")}"><figcaption>{caption}</figcaption></figure>'


def figures(members: Iterable[str]) -> str:
    """Several figures, side by side where there is room."""
    return f'<div class="figures">{"".join(members)}</div>'


def faces(images: Iterable[np.ndarray | None], captions: Iterable[str]) -> str:
    """A group of faces, (h, w, 3) uint8 BGR each or None where there is none, with a caption below each."""
    cells = []
    for image, caption in zip(images, captions, strict=True):
        picture = "" if image is None else f'<img alt="" src="{_inline(_jpeg(image), "jpeg")}">'
        cells.append(f'<div class="face">{picture or "no picture"}<div>{html.escape(caption)}</div></div>')
    return f'<div class="faces">{"".join(cells)}</div>'


def groups(members: Iterable[str]) -> str:
    """Several groups of faces, each in a frame of its own."""
    return '<div class="faces">' + "".join(f'<div class="group">{group}</div>' for group in members) + "</div>"


def _jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()


def _inline(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
