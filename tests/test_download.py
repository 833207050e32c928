"""download.py against a real server on this machine that breaks off, lies, changes its files and goes away."""

import errno
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import download
from age_gender import files
from download import SOURCES
from readers import READERS, archives, fetch, install
from readers.archives import Member
from readers.fetch import Part
from readers.sources import Expected, Source

ROOT = Path(download.__file__).parent
HEAVY = {"keras", "tensorflow", "cv2", "scipy", "h5py", "pandas", "matplotlib", "tqdm", "tabulate"}
LATER = {"urllib.request", "http.client", "ssl", "tarfile", "zipfile"}  # take longer than all the rest of --help
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"8" * 64 + b"\nsize 232589\n"

TREE = {f"{folder:02}/{number}.jpg": 40_000 for folder in range(4) for number in range(5)}
EXPECTED = (Expected(("wiki.mat",)), Expected(("*/*.jpg",), len(TREE)))


def noise(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress."""
    return np.random.default_rng(seed).bytes(size)


def dataset(seed: int = 0) -> dict[str, bytes]:
    """File name -> content of a small WIKI."""
    files = {name: noise(size, seed * 100 + number) for number, (name, size) in enumerate(TREE.items())}
    return {"wiki.mat": noise(1000, seed), **files}


def tar_of(files: dict[str, bytes | tarfile.TarInfo], top: str = "wiki_crop/", mode: str = "w") -> bytes:
    """A tar archive of files, or of members that are given as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in files.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            member = tarfile.TarInfo(top + name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(files: dict[str, bytes], top: str = "wiki_crop/", kind: int = stat.S_IFREG) -> bytes:
    """A zip archive of files; `kind` is what the last one claims to be."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, (name, content) in enumerate(files.items(), start=1):
            info = zipfile.ZipInfo(top + name)
            info.create_system, info.compress_type = 3, zipfile.ZIP_DEFLATED
            info.external_attr = ((kind if number == len(files) else stat.S_IFREG) | 0o644) << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def md5(content: bytes) -> str:
    return "md5:" + hashlib.md5(content).hexdigest()


class Site:
    """What the server does.

    Attributes:
        content, etag, modified, kind: the file and its headers; None leaves a header out.
        ranges, if_range: whether it serves parts, and whether it minds If-Range.
        length: what it announces, where that is not the truth; chunked: whether it announces nothing.
        break_at: byte of the file at which it breaks off; break_after: bytes of a response after which it does.
        reset: whether it breaks off with a reset.
        statuses: with which it answers first, one after the other.
        redirect: where it sends those who ask for /moved.
        slow: it waits for this event after half of the file.
        requests: (path, headers) of all that were made. sent: bytes of the file that it sent.
    """

    def __init__(self, content: bytes):
        self.content, self.etag, self.modified = content, '"one"', "Tue, 01 Mar 2016 10:00:00 GMT"
        self.kind = "application/x-tar"
        self.ranges = self.if_range = True
        self.chunked = self.reset = False
        self.length = self.break_at = self.break_after = self.slow = None
        self.statuses, self.redirect = [], ""
        self.requests, self.sent = [], 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        site = self.server.site
        site.requests.append((self.path, dict(self.headers)))
        self.close_connection = True
        if site.statuses:
            return self.send_error(site.statuses.pop(0))
        if self.path == "/moved":
            return self.answer(302, {"Location": site.redirect, "Content-Length": "0"})
        start = self.start()
        if start and start >= len(site.content):
            return self.answer(416, {"Content-Range": f"bytes */{len(site.content)}", "Content-Length": "0"})
        headers = {"Content-Type": site.kind, "ETag": site.etag, "Last-Modified": site.modified}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(site.content) - 1}/{len(site.content)}"
        if site.chunked:
            headers["Transfer-Encoding"] = "chunked"
        else:
            headers["Content-Length"] = str(site.length or len(site.content) - start)
        self.answer(206 if start else 200, headers)
        self.body(start)

    def start(self) -> int:
        """Where the response begins."""
        site, asked = self.server.site, self.headers.get("Range")
        if not asked or not site.ranges:
            return 0
        if site.if_range and self.headers["If-Range"] not in (site.etag, site.modified):
            return 0
        return int(re.fullmatch(r"bytes=(\d+)-", asked)[1])

    def answer(self, status: int, headers: dict[str, str | None]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def body(self, start: int) -> None:
        site = self.server.site
        ends = [len(site.content), site.break_at, start + site.break_after if site.break_after else None]
        end = max(start, min(end for end in ends if end is not None))
        for at in range(start, end, 10_000):
            block = site.content[at : min(at + 10_000, end)]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(block), block) if site.chunked else block)
            site.sent += len(block)
            if site.slow and at > len(site.content) / 2:
                site.slow.wait(30)
        if end == len(site.content):
            self.wfile.write(b"0\r\n\r\n" if site.chunked else b"")
        elif site.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a client that hangs up, or a connection that was reset, is what is tested


@pytest.fixture
def site():
    """A site whose file is a small WIKI, and `site.url`, where it is."""
    served = Site(tar_of(dataset()))
    server = Server(("127.0.0.1", 0), Handler)
    server.site, served.url = served, f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No waiting, and no proxy on the way to this machine."""
    monkeypatch.setattr(fetch, "WAITS", (0, 0, 0))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def get(site, tmp_path, monkeypatch):
    """Runs `download.py wiki` with more arguments, where WIKI is what the site has, or has other attributes."""

    def run(*arguments: str, **attributes) -> int:
        source = Source("WIKI", "academic research only", "its.page", "wiki_crop", "wiki_crop.tar", expected=EXPECTED)
        chosen = {"url": site.url + "/wiki_crop.tar", "checksum": md5(site.content), **attributes}
        monkeypatch.setitem(SOURCES, "wiki", source._replace(**chosen))
        return download.main(["wiki", "--output_dir", str(tmp_path), *arguments])

    return run


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -------------------------------------------------------------------------------------------- what goes well


@pytest.mark.parametrize("make", [tar_of, zip_of, lambda files: tar_of(files, mode="w:gz")], ids=["tar", "zip", "gz"])
def test_a_dataset_is_fetched_verified_unpacked_and_its_archive_removed(make, site, get, tmp_path, capsys):
    site.content = make(dataset())
    assert get() == 0
    assert names(tmp_path) == {"wiki_crop"} and contents(tmp_path / "wiki_crop") == dataset()
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert lines[1] == "licence: academic research only, see its.page"
    assert lines[2] == f"fetching {len(site.content):,} bytes"
    assert lines[3].endswith(f"wiki_crop.tar: {len(site.content):,} bytes, md5 as published")
    assert lines[4].startswith(f"{tmp_path / 'wiki_crop'}: 21 files; create_db.py --db wiki --data_dir ")
    assert said.err == ""  # no bar where stderr is no terminal
    assert len(site.requests) == 1 and "Range" not in site.requests[0][1]


def test_what_is_there_and_whole_is_not_fetched_again(site, get, tmp_path, capsys):
    get("--keep_archive")
    assert names(tmp_path) == {"wiki_crop", "wiki_crop.tar"}
    assert get() == 0 and "wiki_crop is there already and holds what it should" in capsys.readouterr().out
    assert get("--no_extract") == 0 and "wiki_crop.tar is there already: " in capsys.readouterr().out
    shutil.rmtree(tmp_path / "wiki_crop")
    assert get() == 0 and "wiki_crop.tar is kept" in capsys.readouterr().out
    assert names(tmp_path) == {"wiki_crop", "wiki_crop.tar"}  # it was there before
    assert len(site.requests) == 1


def test_an_archive_is_left_as_it_is_with_no_extract(site, get, tmp_path):
    assert get("--no_extract") == 0
    assert contents(tmp_path) == {"wiki_crop.tar": site.content}


def test_a_single_file_is_verified_where_it_is(site, get, tmp_path, capsys):
    site.content = noise(232_589)
    only = {"folder": "", "archive": "model.onnx", "size": 232_589, "expected": ()}
    assert get(**only) == 0 and get(**only) == 0
    assert contents(tmp_path) == {"model.onnx": site.content} and len(site.requests) == 1
    assert "model.onnx is there already: 232,589 bytes, md5 as published" in capsys.readouterr().out
    (tmp_path / "model.onnx").write_bytes(POINTER)
    with pytest.raises(ValueError, match="model.onnx is there, but .* Git LFS pointer of .* --overwrite fetches it an"):
        get(**only)
    assert get("--overwrite", **only) == 0
    assert contents(tmp_path) == {"model.onnx": site.content} and len(site.requests) == 2


def test_an_archive_without_its_folder_and_with_others_beside_is_understood(site, get, tmp_path, capsys):
    site.content = tar_of(dataset(), top="")
    assert get() == 0 and contents(tmp_path / "wiki_crop") == dataset()
    site.content = zip_of({"wiki_crop/" + name: content for name, content in dataset(1).items()} | {"x/y": b""}, top="")
    assert get("--overwrite") == 0 and contents(tmp_path / "wiki_crop") == dataset(1)
    assert "left out, as it stands beside wiki_crop: x" in capsys.readouterr().out


def test_another_address_is_taken_and_its_checksum_compared_all_the_same(site, get, tmp_path):
    assert get("--url", site.url + "/mirror", url="http://127.0.0.1:1/gone") == 0
    assert [path for path, _ in site.requests] == ["/mirror"] and names(tmp_path) == {"wiki_crop"}
    with pytest.raises(ValueError, match="its md5 is .* is published; it is deleted"):
        get("--url", site.url + "/mirror", "--overwrite", checksum="md5:" + "0" * 32)


def test_a_redirect_is_followed_and_asked_for_the_same_part(site, get, tmp_path):
    site.redirect, site.break_at = site.url + "/wiki_crop.tar", 500_000
    moved = {"url": site.url + "/moved"}
    with pytest.raises(OSError, match="500,000 bytes are kept"):
        get(**moved)
    site.break_at = None
    assert get(**moved) == 0 and names(tmp_path) == {"wiki_crop"}
    assert site.requests[-1][0] == "/wiki_crop.tar" and site.requests[-1][1]["Range"] == "bytes=500000-"


def test_a_file_of_unknown_length_is_fetched_and_gone_on_with(site, get, tmp_path, capsys):
    site.chunked, site.break_at = True, 400_000
    with pytest.raises(OSError, match="(broke off after|server sent) 400,000 .* 400,000 bytes are kept"):
        get()
    site.break_at = None
    assert get() == 0 and contents(tmp_path / "wiki_crop") == dataset()
    assert "fetching an unknown number of bytes\n" in capsys.readouterr().out
    assert site.requests[-1][1]["Range"] == "bytes=400000-"


# -------------------------------------------------------------------------------------------- broken off


@pytest.mark.parametrize("reset", [False, True])
def test_what_broke_off_is_kept_and_gone_on_with(reset, site, get, tmp_path, capsys):
    site.break_at, site.reset = 400_000, reset
    with pytest.raises(OSError, match="[0-9,]+ bytes are kept, the same command goes on from there"):
        get()
    assert reset or len(site.requests) == 1 + len(fetch.WAITS)
    part = tmp_path / "wiki_crop.tar.part"
    kept = part.read_bytes()
    assert names(tmp_path) == {part.name, part.name + ".json"}
    assert kept == site.content[: len(kept)] and (reset or len(kept) == 400_000)
    assert "trying again in 0 s" in capsys.readouterr().err

    if not reset:  # a reset may take back what was sent last
        site.break_at, site.sent = None, 0
        assert get() == 0 and contents(tmp_path / "wiki_crop") == dataset()
        assert site.sent == len(site.content) - 400_000
        assert site.requests[-1][1]["Range"] == "bytes=400000-" and site.requests[-1][1]["If-Range"] == '"one"'
        assert f"fetching {len(site.content):,} bytes, of which 400,000 are there" in capsys.readouterr().out
        assert names(tmp_path) == {"wiki_crop"}


def test_a_line_that_breaks_often_gets_there_as_long_as_it_gets_further(site, get, tmp_path):
    site.break_after = 100_000
    assert get() == 0 and contents(tmp_path / "wiki_crop") == dataset()
    assert len(site.requests) == -(-len(site.content) // 100_000) > 2 * len(fetch.WAITS)
    assert site.sent == len(site.content)


def test_a_server_that_cannot_go_on_and_breaks_off_is_given_up(site, get):
    site.ranges, site.break_after = False, 100_000
    with pytest.raises(OSError, match="100,000 bytes are kept"):
        get()
    assert len(site.requests) == 1 + len(fetch.WAITS)


def test_a_response_that_is_shorter_than_announced_is_no_whole_file(site, get, tmp_path):
    site.length = len(site.content) + 10
    with pytest.raises(OSError, match=f"sent {len(site.content):,} of the {len(site.content) + 10:,} bytes that it an"):
        get(checksum="")
    assert (tmp_path / "wiki_crop.tar.part").read_bytes() == site.content


def test_a_server_that_does_not_serve_parts_begins_anew(site, get, tmp_path, capsys):
    site.break_at = 400_000
    with pytest.raises(OSError):
        get()
    site.ranges, site.break_at = False, None
    assert get() == 0 and contents(tmp_path / "wiki_crop") == dataset()
    assert "going on is not possible" in capsys.readouterr().out


@pytest.mark.parametrize(
    "change",
    [
        {"etag": '"two"'},
        {"etag": '"two"', "if_range": False},  # serves the rest of another file
        {"etag": None, "modified": "Wed, 02 Mar 2016 10:00:00 GMT", "if_range": False},
        {"etag": 'W/"one"', "modified": "Wed, 02 Mar 2016 10:00:00 GMT"},
        {"etag": None, "modified": None},
    ],
    ids=str,
)
def test_a_file_that_has_changed_is_never_joined_to_the_old_half(change, site, get, tmp_path):
    for name, value in change.items():
        setattr(site, name, {'"two"': '"one"'}.get(value, value))
    if change.get("modified"):
        site.modified = "Tue, 01 Mar 2016 10:00:00 GMT"
    site.break_at = 400_000
    with pytest.raises(OSError):
        get(checksum="")
    kept = (tmp_path / "wiki_crop.tar.part").read_bytes()
    assert len(kept) == 400_000

    for name, value in change.items():
        setattr(site, name, value)
    site.content, site.break_at, site.sent = tar_of(dataset(1)), None, 0
    assert kept != site.content[:400_000] and get(checksum="") == 0
    assert contents(tmp_path / "wiki_crop") == dataset(1) and site.sent >= len(site.content)


def test_only_the_rest_of_the_same_file_goes_on():
    known = Part("http://x", 900, '"one"', "yesterday")

    def goes_on(span: str, known: Part = known, status: int = 206, **headers: str) -> bool:
        response = SimpleNamespace(status_code=status, headers={"Content-Range": span, **headers})
        return fetch.goes_on_from(response, 400, known)

    assert goes_on("bytes 400-899/900") and goes_on("bytes 400-899/*") and goes_on("bytes 400-499/900", ETag='"one"')
    assert goes_on("bytes 400-998/999", known._replace(size=None))
    assert not goes_on("bytes 399-899/900") and not goes_on("bytes 400-998/999") and not goes_on("")
    assert not goes_on("bytes 400-899/900", status=200)
    assert not goes_on("bytes 400-899/900", ETag='"two"')
    assert not goes_on("bytes 400-899/900", **{"Last-Modified": "today"})


@pytest.mark.parametrize("etag", [None, 'W/"one"'])
def test_without_a_strong_etag_the_date_tells_whether_the_file_is_the_same(etag, site, get, tmp_path):
    site.etag, site.break_at = etag, 400_000
    with pytest.raises(OSError):
        get()
    site.break_at = None
    assert get() == 0 and contents(tmp_path / "wiki_crop") == dataset()
    asked = site.requests[-1][1]
    assert asked["Range"] == "bytes=400000-" and asked["If-Range"] == site.modified


def test_a_part_of_another_address_or_with_a_damaged_note_is_not_gone_on_with(site, get, tmp_path):
    site.break_at = 400_000
    with pytest.raises(OSError):
        get()
    site.break_at, note = None, tmp_path / "wiki_crop.tar.part.json"
    known = json.loads(note.read_text())
    for damage in ("", "[]", "{}", json.dumps({**known, "size": "large"}), json.dumps({**known, "etag": None})):
        note.write_text(damage)
        assert fetch.read_note(note.with_suffix(""), known["url"]) is None
    note.write_text(json.dumps(known))
    assert fetch.read_note(note.with_suffix(""), known["url"]) == Part(**known)
    assert get("--url", site.url + "/mirror") == 0
    assert "Range" not in site.requests[-1][1] and contents(tmp_path / "wiki_crop") == dataset()


def test_a_whole_part_needs_no_server_and_one_that_is_too_long_begins_anew(site, get, tmp_path):
    url, part = site.url + "/wiki_crop.tar", tmp_path / "wiki_crop.tar.part"
    part.write_bytes(site.content)
    fetch.write_note(part, Part(url, len(site.content), '"one"', ""))
    assert get() == 0 and not site.requests
    shutil.rmtree(tmp_path / "wiki_crop")
    part.write_bytes(site.content + b"more")
    fetch.write_note(part, Part(url, len(site.content), '"one"', ""))
    assert get() == 0 and [headers.get("Range") for _, headers in site.requests] == [
        f"bytes={len(site.content) + 4}-",
        None,
    ]
    assert contents(tmp_path / "wiki_crop") == dataset()


def test_ctrl_c_leaves_the_part_and_one_line(site, get, tmp_path, capsys, monkeypatch):
    written = []

    def interrupted(file, block):
        written.append(file.write(block))
        raise KeyboardInterrupt

    monkeypatch.setattr(fetch, "write_all", interrupted)
    assert get() == 130
    assert capsys.readouterr().err.strip().count("\n") == 0
    assert (tmp_path / "wiki_crop.tar.part").read_bytes() == site.content[: sum(written)]
    monkeypatch.undo()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert get() == 0 and site.requests[-1][1]["Range"] == f"bytes={sum(written)}-"
    assert contents(tmp_path / "wiki_crop") == dataset()


# -------------------------------------------------------------------------------------------- servers that refuse


def test_what_is_not_there_is_said_at_once(site, get, tmp_path):
    site.statuses = [404]
    with pytest.raises(ValueError, match="wiki_crop.tar answers 404 Not Found; --url names another address"):
        get()
    assert len(site.requests) == 1 and not names(tmp_path)


def test_a_server_that_is_busy_is_asked_again(site, get, tmp_path):
    site.statuses = [503, 429]
    assert get() == 0 and names(tmp_path) == {"wiki_crop"} and len(site.requests) == 3
    site.statuses = [503] * 9
    with pytest.raises(OSError, match="answers 503 Service Unavailable; 0 bytes are kept"):
        get("--overwrite")
    assert len(site.requests) == 3 + 1 + len(fetch.WAITS)


def test_a_server_that_is_gone_is_named_and_the_licence_was_announced_before(get, tmp_path, capsys):
    with socket.socket() as taken:  # bound but not listening: nobody else answers there
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"{address} cannot be reached .*refused.*; 0 bytes are kept") as failed:
            get(url=f"http://{address}/wiki_crop.tar")
    assert "HTTPConnection" not in str(failed.value) and str(failed.value).endswith("wiki_crop.tar")
    assert "licence: academic research only, see its.page" in capsys.readouterr().out and not names(tmp_path)


def test_a_server_that_falls_silent_is_lost(site, get, monkeypatch):
    monkeypatch.setattr(fetch, "TIMEOUT", 0.3)
    monkeypatch.setattr(fetch, "WAITS", ())
    site.slow = threading.Event()
    with pytest.raises(OSError, match="(broke off after|cannot be reached).*timed out.* bytes are kept"):
        get()
    site.slow.set()


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "wiki.tar", "http://", "HTTP"]
)
def test_nothing_but_http_is_opened(address, site, get, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        get("--url", address)
    assert caught.value.code == 2 and "is no address that begins with http:// or https://" in capsys.readouterr().err
    with pytest.raises(ValueError):
        fetch.send(address, {})
    if ":/" in address[:6] and address != "http://":
        site.redirect = address
        with pytest.raises(ValueError, match="No connection adapters were found"):
            get(url=site.url + "/moved")
    assert not names(tmp_path)


def test_a_redirect_may_not_take_the_encryption_off(site, monkeypatch):
    import requests

    get = requests.get
    monkeypatch.setattr(requests, "get", lambda url, **more: get(site.url + "/wiki_crop.tar", **more))
    with pytest.raises(ValueError, match="https://its.page leads to http://127.* without encryption"):
        fetch.send("https://its.page", {})


def test_another_length_than_published_is_refused_before_the_part_is_lost(site, get, tmp_path):
    size = len(site.content)
    site.break_at = 400_000
    with pytest.raises(OSError):
        get(size=size)
    kept = (tmp_path / "wiki_crop.tar.part").read_bytes()
    whole, site.break_at, site.etag = site.content, None, '"two"'
    for content, kind, message in (
        (whole + b"x", "application/x-tar", f"announces {size + 1:,} bytes, {size:,} are published"),
        (POINTER, "text/plain", f"gives a Git LFS pointer of {len(POINTER)} bytes, not the file"),
        (whole, "text/html; charset=utf-8", "answers with a web page, not with wiki_crop.tar: .* see its.page"),
    ):
        site.content, site.kind = content, kind
        with pytest.raises(ValueError, match=message):
            get(size=size, checksum=md5(whole))
        assert (tmp_path / "wiki_crop.tar.part").read_bytes() == kept
    site.content, site.kind = b"x", "text/plain"
    with pytest.raises(ValueError, match="announces 1 bytes, too few for wiki_crop.tar"):
        get(checksum="")


# -------------------------------------------------------------------------------------------- wrong contents


def test_a_wrong_checksum_is_said_and_the_file_deleted(site, get, tmp_path):
    wrong = "sha256:" + "0" * 64
    found = hashlib.sha256(site.content).hexdigest()
    with pytest.raises(ValueError, match=f"is not the published file: its sha256 is {found}, 0+ is published; it is d"):
        get(checksum=wrong)
    assert not names(tmp_path) and len(site.requests) == 1
    assert get(checksum="sha256:" + found) == 0


def test_an_archive_that_is_there_but_wrong_is_not_replaced_unasked(site, get, tmp_path):
    archive = tmp_path / "wiki_crop.tar"
    archive.write_bytes(b"mine")
    with pytest.raises(ValueError, match="wiki_crop.tar is there, but its md5 is .*; --overwrite fetches it anew"):
        get()
    assert archive.read_bytes() == b"mine" and not site.requests
    assert get("--overwrite", "--no_extract") == 0 and archive.read_bytes() == site.content


def test_a_folder_that_is_there_is_not_replaced_unasked_nor_by_a_bad_archive(site, get, tmp_path):
    target = tmp_path / "wiki_crop"
    target.mkdir()
    (target / "mine.txt").write_text("mine")
    with pytest.raises(
        ValueError, match=r"wiki_crop is there, but lacks wiki.mat, \*/\*.jpg \(0 files of 20 or more\)"
    ):
        get()
    site.content = tar_of({"../evil": b"", **dataset()}, top="wiki_crop/x/../../")
    with pytest.raises(ValueError, match="leads out of its folder"):
        get("--overwrite")
    assert contents(target) == {"mine.txt": b"mine"} and names(tmp_path) == {"wiki_crop", "wiki_crop.tar"}
    (tmp_path / "wiki_crop.tar").unlink()
    site.content = tar_of(dataset())
    assert get("--overwrite") == 0
    assert contents(target) == dataset() and names(tmp_path) == {"wiki_crop"}


def test_a_folder_comes_back_if_another_cannot_take_its_place(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "file").write_text("old")
    with pytest.raises(OSError):
        install.move_into_place(tmp_path / "gone", tmp_path / "old", tmp_path / "aside")
    assert contents(tmp_path) == {"old/file": b"old"}


def test_an_archive_of_something_else_does_not_become_the_dataset(site, get, tmp_path):
    site.content = tar_of({"imdb.mat": noise(5000)})
    with pytest.raises(ValueError, match="wiki_crop.tar is not WIKI: it lacks wiki.mat"):
        get()
    assert names(tmp_path) == {"wiki_crop.tar"}  # it has the published checksum


def flipped(content: bytes) -> bytes:
    """The same, one bit in the middle turned over."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def locked(content: bytes) -> bytes:
    """A zip file whose members claim to be encrypted."""
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(mark)
        while at >= 0:
            content = content[: at + offset] + b"\x01" + content[at + offset + 1 :]
            at = content.find(mark, at + 1)
    return content


BETWEEN = 512 + 1024  # the header of wiki.mat, its data and their padding
DAMAGED = {
    "zip, cut": zip_of(dataset())[:-100],
    "zip, one bit": flipped(zip_of(dataset())),
    "zip, encrypted": locked(zip_of({"wiki.mat": noise(5000)})),
    "tar, cut in a file": tar_of(dataset())[:100_000],
    "tar, cut in a header": tar_of(dataset())[: BETWEEN + 100],
    "tar, cut between two files": tar_of(dataset())[:BETWEEN],
    "gz, cut": tar_of(dataset(), mode="w:gz")[:-1000],
    "gz, its checksum cut": tar_of(dataset(), mode="w:gz")[:-6],
    "gz, one bit": flipped(tar_of(dataset(), mode="w:gz")),
    "no archive": noise(5000),
    "zeros": bytes(5000) + b"x",
}


@pytest.mark.parametrize("name", DAMAGED)
def test_without_a_checksum_a_damaged_archive_is_found_out(name, site, get, tmp_path):
    site.content = DAMAGED[name]
    with pytest.raises(ValueError, match="is not the published file: .* is damaged or no archive: .*; it is deleted"):
        get(checksum="")
    assert not names(tmp_path)


def test_without_a_checksum_that_is_said(site, get, tmp_path, capsys):
    site.content = zip_of(dataset())
    assert get(checksum="") == 0 and contents(tmp_path / "wiki_crop") == dataset()
    assert "21 files, all whole; no checksum is published for it" in capsys.readouterr().out


# -------------------------------------------------------------------------------------------- hostile archives


def member(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    """A member without content."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


OUT = "a path that leads out of its folder"
HOSTILE = {
    "tar, climbs": (tar_of({"../../evil": b"x", **dataset()}), OUT),
    "tar, climbs later": (tar_of({**dataset(), "a/../../../evil": b"x"}), OUT),
    "tar, absolute": (tar_of({"/tmp/evil": b"x"}, top=""), OUT),
    "tar, a folder that climbs": (tar_of({"x": member("../evil", tarfile.DIRTYPE)}), OUT),
    "tar, drive": (tar_of({"C:evil": b"x"}), OUT),
    "tar, link out": (tar_of({"x": member("wiki_crop/x", tarfile.SYMTYPE, "../../evil")}), "holds a link"),
    "tar, link in": (tar_of({"x": member("wiki_crop/x", tarfile.SYMTYPE, "wiki.mat")}), "holds a link"),
    "tar, link, then through it": (
        tar_of({"x": member("wiki_crop/x", tarfile.SYMTYPE, "../.."), "x/evil": b"x"}),
        "holds a link",
    ),
    "tar, hard link": (tar_of({"x": member("wiki_crop/x", tarfile.LNKTYPE, "/etc/passwd")}), "holds a link"),
    "tar, device": (tar_of({"x": member("wiki_crop/x", tarfile.CHRTYPE)}), "holds a device"),
    "tar, pipe": (tar_of({"x": member("wiki_crop/x", tarfile.FIFOTYPE)}), "holds a device"),
    "gz, climbs": (tar_of({"../../evil": b"x"}, mode="w:gz"), OUT),
    "zip, climbs": (zip_of({**dataset(), "../../evil": b"x"}), OUT),
    "zip, absolute": (zip_of({"/tmp/evil": b"x"}, top=""), OUT),
    "zip, climbs as in Windows": (zip_of({"..\\..\\evil": b"x"}), OUT),
    "zip, link": (zip_of({"x": b"../../evil"}, kind=stat.S_IFLNK), "holds a link"),
    "zip, device": (zip_of({"x": b""}, kind=stat.S_IFBLK), "holds a device"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("published", [True, False], ids=["checksum", "none"])
def test_a_hostile_archive_is_refused_and_writes_nothing_outside(name, published, site, get, tmp_path, monkeypatch):
    site.content, message = HOSTILE[name]
    site.content += noise(1200) if "zip" not in name and "gz" not in name else b""  # not too short to be one
    monkeypatch.setattr(fetch, "SMALL", 0)
    inner = tmp_path / "deep" / "data"
    with pytest.raises(ValueError, match=message):
        get("--output_dir", str(inner), checksum=md5(site.content) if published else "")
    assert contents(tmp_path) == ({"deep/data/wiki_crop.tar": site.content} if published else {})
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize("make", [zip_of, lambda files: tar_of(files, mode="w:gz")], ids=["zip", "gz"])
@pytest.mark.parametrize("published", [True, False], ids=["checksum", "none"])
def test_an_archive_that_unpacks_to_a_thousand_times_its_size_is_refused(
    make, published, site, get, tmp_path, monkeypatch
):
    monkeypatch.setattr(archives, "FLOOR", 1000)
    site.content = make({"wiki.mat": bytes(8_000_000)})
    assert len(site.content) < 8_000_000 / 900
    with pytest.raises(ValueError, match=f"unpacks to more than {100 * len(site.content):,} bytes, 100 times its size"):
        get(checksum=md5(site.content) if published else "")
    assert names(tmp_path) == ({"wiki_crop.tar"} if published else set())


def test_a_bomb_of_headers_and_one_of_empty_files_are_refused(tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.tar.gz"
    comment = tarfile.TarInfo("x")
    comment.pax_headers = {"comment": "0" * 4_000_000}  # which tarfile searched for hours, CVE-2024-6232
    bomb.write_bytes(gzip.compress(comment.tobuf(tarfile.PAX_FORMAT) + bytes(1024)))
    with pytest.raises(ValueError, match="it holds a header of 4,000,256 bytes"):
        archives.unpack(bomb, tmp_path / "out")
    comment.pax_headers = {"comment": "x" * 8000, "path": "a/" + "long" * 500}
    bomb.write_bytes(gzip.compress(comment.tobuf(tarfile.PAX_FORMAT) + bytes(1024)))
    assert archives.unpack(bomb, None) == 1
    monkeypatch.setattr(archives, "FLOOR", 1000)
    bomb.write_bytes(gzip.compress(tar_of({"x": b"x"}) + bytes(4_000_000)))  # after the end
    with pytest.raises(ValueError, match="unpacks to more than"):
        archives.unpack(bomb, None)
    monkeypatch.setattr(archives, "MOST_FILES", 20)
    bomb.write_bytes(tar_of(dict.fromkeys(dataset(), b""), mode="w:gz"))
    with pytest.raises(ValueError, match="holds more than 20 files"):
        archives.unpack(bomb, None)


def test_labels_that_shrink_to_a_tenth_and_small_archives_are_no_bombs(tmp_path, monkeypatch):
    archive = tmp_path / "labels.zip"
    archive.write_bytes(zip_of({"small": bytes(8_000_000)}))  # a thousand times its size, but little
    assert archives.unpack(archive, None) == 1
    monkeypatch.setattr(archives, "FLOOR", 8_000_000)  # and no byte more
    assert archives.unpack(archive, None) == 1
    monkeypatch.setattr(archives, "FLOOR", 7_999_999)
    with pytest.raises(ValueError, match="unpacks to more than 7,999,999 bytes"):
        archives.unpack(archive, None)
    monkeypatch.setattr(archives, "FLOOR", 1000)
    archive.write_bytes(zip_of({"labels.csv": ("30,1\n" * 1000 + noise(2000).hex()).encode()}))
    assert archive.stat().st_size < 9000 / 3 and archives.unpack(archive, None) == 1


@given(st.text("ab/\\.:\0C~é ", max_size=12))
def test_a_path_that_is_accepted_stays_inside_on_every_system(name):
    try:
        parts = archives.safe_parts(Path("x.zip"), Member(name, "file", None))
    except ValueError:
        return
    assert parts and not {"..", ".", ""} & set(parts)
    for kind in (PurePosixPath, PureWindowsPath):
        inside = kind("/data").joinpath(*parts)
        assert inside.parts[: len(kind("/data").parts)] == kind("/data").parts and len(inside.parts) > 2


# -------------------------------------------------------------------------------------------- room on the disk


def test_a_disk_without_room_is_told_before_anything_is_fetched(site, get, tmp_path, monkeypatch):
    size = len(site.content)
    for free, arguments in ((2 * size, ()), (size - 1, ("--no_extract",))):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        with pytest.raises(
            ValueError, match="MB free, where 0.8 MB to fetch.* needed; make room, or name another --out"
        ):
            get(*arguments)
        assert not names(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * size))
    assert get("--no_extract") == 0
    assert get() == 0  # what is there already needs no room


def test_a_disk_that_is_full_halfway_keeps_the_part(site, get, tmp_path, monkeypatch):
    whole = fetch.write_all

    def full(file, block):
        if file.tell() > 400_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(file, block)

    monkeypatch.setattr(fetch, "write_all", full)
    with pytest.raises(
        OSError, match=r"part cannot grow \(No space left on device\): [0-9,]+ bytes are kept; make roo"
    ):
        get()
    kept = (tmp_path / "wiki_crop.tar.part").stat().st_size
    assert kept > 400_000 and len(site.requests) == 1
    monkeypatch.setattr(fetch, "write_all", whole)
    assert get() == 0 and site.requests[-1][1]["Range"] == f"bytes={kept}-"
    assert contents(tmp_path / "wiki_crop") == dataset()


def test_a_disk_that_is_full_when_unpacking_keeps_the_archive(site, get, tmp_path, monkeypatch):
    create, made = archives.create, []

    def full(folder, parts):
        if folder and len(made) == 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        made.append(parts)
        return create(folder, parts)

    monkeypatch.setattr(archives, "create", full)
    with pytest.raises(
        OSError, match="wiki_crop.tar cannot be unpacked in .* it is kept: make room, and the same comm"
    ):
        get()
    assert contents(tmp_path) == {"wiki_crop.tar": site.content}
    monkeypatch.setattr(archives, "create", create)
    assert get() == 0 and contents(tmp_path / "wiki_crop") == dataset() and len(site.requests) == 1


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1,000,000 bytes, where the user may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    command = [mount, "-t", "tmpfs", "-o", "size=1000000", "tmpfs", str(disk)] if mount else ["false"]
    if not sys.platform.startswith("linux") or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small file system takes Linux and its administrator")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_really_full(small_disk, site, get, monkeypatch):
    room = fetch.require_room
    for module in (fetch, install):
        monkeypatch.setattr(module, "require_room", lambda *_: None)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(500_000))
    with pytest.raises(OSError, match="wiki_crop.tar.part cannot grow .*; make room"):
        get("--output_dir", str(small_disk))
    part = small_disk / "wiki_crop.tar.part"
    kept = part.read_bytes()
    assert 300_000 < len(kept) < 500_000 and kept == site.content[: len(kept)]

    ballast.unlink()  # now there is room for the archive, but not for its contents
    with pytest.raises(OSError, match="wiki_crop.tar cannot be unpacked in .*; it is kept"):
        get("--output_dir", str(small_disk))
    assert contents(small_disk) == {"wiki_crop.tar": site.content}
    assert site.requests[-1][1]["Range"] == f"bytes={len(kept)}-"
    for module in (fetch, install):
        monkeypatch.setattr(module, "require_room", room)
    with pytest.raises(ValueError, match="0.2 MB free, where 0.0 MB to fetch and about 1.0 MB to unpack are needed"):
        get("--output_dir", str(small_disk))


# -------------------------------------------------------------------------------------------- other runs


def test_two_runs_do_not_work_on_the_same_file(get, tmp_path):
    pytest.importorskip("fcntl")
    with files.alone(tmp_path / "wiki_crop.tar"):
        with pytest.raises(ValueError, match="another run is at work on .*wiki_crop.tar"):
            get()
    assert get() == 0 and names(tmp_path) == {"wiki_crop"}


def test_what_a_killed_run_left_half_unpacked_is_cleared_away(get, tmp_path):
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    name = files._mine().replace(f"{os.getpid()}-", f"{killed.pid}-abc")
    half = tmp_path / name / "content" / "wiki_crop"
    half.mkdir(parents=True)
    (half / "wiki.mat").write_bytes(b"half")
    assert get() == 0 and names(tmp_path) == {"wiki_crop"}


# -------------------------------------------------------------------------------------------- by hand


def plant(folder: Path, *files: str) -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if not source.url])
def test_what_cannot_be_fetched_is_explained_step_by_step(name, tmp_path, capsys):
    assert download.main([name, "--output_dir", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    source = SOURCES[name]
    steps = re.findall(r"^(\d)\. ", said, re.MULTILINE)
    assert steps == [str(number + 1) for number in range(len(source.steps))] and len(steps) >= 3
    assert source.page in said and str(tmp_path / source.folder) in said and "{" not in said
    assert f"licence: {source.licence}" in said and "same command again" in said
    assert not names(tmp_path)


def test_what_was_brought_is_checked_and_what_is_missing_is_said(tmp_path, capsys):
    folds = [f"fold_{number}_data.txt" for number in range(5)]
    faces = [f"faces/u/coarse_tilt_aligned_face.{number}.x.jpg" for number in range(3)]
    plant(tmp_path / "adience", *folds[:4], *faces)
    adience = ["adience", "--output_dir", str(tmp_path)]
    missing = (
        r"adience is there, but lacks fold_4_data.txt, aligned/.*\.jpg or faces/.*\.jpg \(3 files of 19,000 or more"
    )
    with pytest.raises(ValueError, match=missing):
        download.main(adience)
    assert "2. download fold_0_data.txt" in capsys.readouterr().out


def test_of_two_layouts_one_will_do(tmp_path):
    expected = (Expected(("aligned/*.jpg", "faces/*.jpg"), 2), Expected(("list.txt",)))
    assert install.lacking(plant(tmp_path, "faces/a.jpg", "faces/b.jpg", "list.txt"), expected) == ""
    (tmp_path / "faces" / "a.jpg").rename(tmp_path / "a.jpg")
    assert install.lacking(tmp_path, expected) == "aligned/*.jpg or faces/*.jpg (1 files of 2 or more)"


def test_an_archive_that_was_brought_is_unpacked_checked_and_kept(tmp_path, capsys, monkeypatch):
    source = SOURCES["utkface"]._replace(expected=(Expected(("**/*.jpg",), 3),))
    monkeypatch.setitem(SOURCES, "utkface", source)
    faces = {f"{age}_0_0_20170101.jpg.chip.jpg": noise(1000, age) for age in (20, 30, 40)}
    archive = tmp_path / "UTKFace.tar.gz"
    utkface = ["utkface", "--output_dir", str(tmp_path)]
    archive.write_bytes(tar_of(faces, top="UTKFace/", mode="w:gz")[:-500])
    with pytest.raises(ValueError, match="UTKFace.tar.gz is damaged"):
        download.main(utkface)
    assert names(tmp_path) == {"UTKFace.tar.gz"}
    archive.write_bytes(tar_of(faces, top="UTKFace/", mode="w:gz"))
    assert download.main([*utkface, "--no_extract"]) == 0 and names(tmp_path) == {"UTKFace.tar.gz"}
    assert download.main(utkface) == 0
    assert contents(tmp_path / "UTKFace") == faces and archive.exists()
    capsys.readouterr()
    assert download.main(utkface) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'UTKFace'} is there and holds what it should\n"
    (tmp_path / "UTKFace" / "30_0_0_20170101.jpg.chip.jpg").unlink()
    with pytest.raises(ValueError, match=r"lacks .* \(2 files of 3 or more\); --overwrite unpacks .*UTKFace.tar.gz in"):
        download.main(utkface)
    assert download.main([*utkface, "--overwrite"]) == 0 and contents(tmp_path / "UTKFace") == faces


def test_a_mirror_makes_one_file_fetchable_but_not_a_collection(site, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(SOURCES, "utkface", SOURCES["utkface"]._replace(expected=(Expected(("*.jpg",)),)))
    site.content = tar_of({"20_0_0_20170101.jpg": noise(2000)}, top="UTKFace/", mode="w:gz")
    assert download.main(["utkface", "--url", site.url, "--output_dir", str(tmp_path)]) == 0
    assert names(tmp_path) == {"UTKFace"} and "no checksum is published" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        download.main(["adience", "--url", site.url])
    assert "--url is for one file, and adience comes in several" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        download.main(["--url", site.url])
    assert "--url needs the NAME" in capsys.readouterr().err


# -------------------------------------------------------------------------------------------- the table


def test_the_list_has_a_line_for_each_source(capsys):
    assert download.main([]) is None
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1 : len(SOURCES) + 1]] == list(SOURCES)
    assert "7.0 GB" in lines[2] and "fetched" in lines[2] and "academic research only" in lines[2]
    assert max(map(len, lines)) <= 120


@pytest.mark.parametrize("name", SOURCES)
def test_the_table_is_sound(name):
    source = SOURCES[name]
    assert source.licence and source.page.startswith("http") and source.expected or not source.folder
    assert bool(source.url) != bool(source.steps) and (source.folder or source.url)
    if source.url:
        assert download.web_address(source.url).endswith("/" + source.archive)
    assert not source.checksum or re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", source.checksum)
    if name in READERS:
        assert Path(READERS[name].folder) == Path("data", source.folder)


def test_every_dataset_that_create_db_reads_can_be_got():
    assert set(READERS) - set(SOURCES) <= {"csv", "folders", "appa_real_apparent"}  # one's own, and APPA-REAL again


def test_the_genuine_yunet_is_the_one_that_is_published(shared, tmp_path, monkeypatch):
    model = SOURCES["yunet"].archive
    shutil.copyfile(shared / "data" / "yunet" / model, tmp_path / model)
    assert download.main(["yunet", "--output_dir", str(tmp_path)]) == 0
    (tmp_path / model).chmod(0o644)
    with open(tmp_path / model, "r+b") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="its sha256 is .*; --overwrite fetches it anew"):
        download.main(["yunet", "--output_dir", str(tmp_path)])


def test_the_genuine_adience_lists_are_recognised(shared, tmp_path):
    for path in (shared / "data" / "adience").glob("fold_*_data.txt"):
        shutil.copyfile(path, tmp_path / path.name)
    assert install.lacking(tmp_path, SOURCES["adience"].expected[:5]) == ""


# -------------------------------------------------------------------------------------------- as a user runs it


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """The script in a process of its own."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "download.py"), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def test_an_error_is_one_line_and_status_2(site, tmp_path):
    site.content = noise(232_589)
    run = start(tmp_path, "yunet", "--url", site.url)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 2 and err.count("\n") == 1
    assert err.startswith(f"download.py: error: what came from {site.url} is not the published file: its sha256 is ")
    assert (
        out.splitlines()[1].startswith("licence: MIT") and names(tmp_path) == {"data"} and not names(tmp_path / "data")
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_in_a_real_run(site, tmp_path):
    site.content, site.slow = noise(232_589), threading.Event()
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # tests that run in the background inherit that it is ignored
    try:
        run = start(tmp_path, "yunet", "--url", site.url)
    finally:
        signal.signal(signal.SIGINT, before)
    part = tmp_path / "data" / (SOURCES["yunet"].archive + ".part")
    for _ in range(600):
        if fetch.length(part) > 100_000:
            break
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=60)
    site.slow.set()
    assert run.returncode == 130 and err.strip() == (
        "download.py: stopped; what was fetched is kept, the same command goes on from there"
    )
    assert part.read_bytes() == site.content[: fetch.length(part)] and fetch.length(part) > 100_000
    assert names(part.parent) == {part.name, part.name + ".json"}


def test_help_loads_nothing_heavy(tmp_path):
    probe = (
        "import runpy, sys; sys.argv = ['download.py', '--help']\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        f"try: runpy.run_path({str(ROOT / 'download.py')!r}, run_name='__main__')\n"
        f"finally: print('LOADED', sorted({HEAVY | LATER!r} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=tmp_path)
    assert answer.returncode == 0 and "LOADED []" in answer.stdout
    assert "python download.py wiki" in answer.stdout and "--no_extract" in answer.stdout
