"""Runs a command and writes how long it took and how much memory it had at most.

    python benchmarks/launch.py REPORT.json COMMAND [ARGUMENT ...]

A process of its own because a new process starts with the high-water mark of the one that started it, so that one
must be small: this file imports the standard library alone.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss


def main() -> None:
    """Runs, waits, writes {"seconds", "peak_mb", "status"}; a signal is a negative status."""
    if len(sys.argv) < 3 or sys.argv[1].startswith("-"):
        print("usage: python benchmarks/launch.py REPORT.json COMMAND [ARGUMENT ...]", file=sys.stderr)
        sys.exit(2)
    report, command = Path(sys.argv[1]), sys.argv[2:]
    started = time.perf_counter()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    measured = {
        "seconds": time.perf_counter() - started,
        "peak_mb": usage.ru_maxrss * BYTES_PER_UNIT / 1e6,
        "status": os.waitstatus_to_exitcode(status),
    }
    report.write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main()
