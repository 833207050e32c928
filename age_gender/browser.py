"""A server for the page in web/, to this machine alone."""

import signal
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from age_gender.cli import Stopped

ADDRESS = "127.0.0.1"
TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}
# What the page says of itself in web/index.html; its workers have it from the server alone.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; "
    "style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; base-uri 'none'; form-action 'none'"
)


class _Page(SimpleHTTPRequestHandler):
    """Files with the types that browsers ask for, and a policy under which they fetch nothing from elsewhere."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | TYPES  # not what the system's tables say

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", f"{POLICY}; frame-ancestors 'none'")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-cache")  # asked anew each time: make web may have replaced it
        super().end_headers()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Sends a file, unless the browser wants the rest no more, as where the page is reloaded."""
        with suppress(ConnectionError):
            super().copyfile(source, outputfile)

    def log_message(self, *args: object) -> None:
        """Prints nothing."""


def server(folder: Path, port: int = 0) -> ThreadingHTTPServer:
    """Serves a folder that `make web` wrote, once its `serve_forever` is called; port 0 takes one that is free.

    Raises:
        FileNotFoundError: if the page is not there.
        OSError: if the port is taken.
    """
    if not (folder / "index.html").is_file():
        raise FileNotFoundError(
            f"{folder / 'index.html'} is not there; make web (or python web/gather.py) gathers the page"
        )
    return ThreadingHTTPServer((ADDRESS, port), partial(_Page, directory=str(folder)))


def serve(folder: Path, tell: Callable[[str], None], opens: bool) -> int:
    """Serves the page until Ctrl-C, which is its usual end and gives the exit status 0; `tell` is given the line that
    says where the page is, and `opens` has the user's browser open it."""
    with server(folder) as page:
        tell(f"{address_of(page)} has the page; Ctrl-C ends it")
        if opens:
            # Beside it, since some browsers end only when they are closed.
            threading.Thread(target=webbrowser.open, args=(address_of(page),), daemon=True).start()
        try:
            page.serve_forever()
        except KeyboardInterrupt as stopped:
            if isinstance(stopped, Stopped) and stopped.number != signal.SIGINT:
                raise
    return 0


def address_of(page: ThreadingHTTPServer) -> str:
    """Where a browser finds it."""
    return f"http://{ADDRESS}:{page.server_port}/"
