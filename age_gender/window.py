"""The window that shows pictures, where there is a display."""

import subprocess
import sys

import numpy as np

WINDOW = "age and gender"
END_KEYS = (27, ord("q"))  # Esc, q


def display_works() -> bool:
    """Whether a window can be opened, tried in a process of its own: OpenCV ends the process where it cannot."""
    probe = "import cv2; cv2.namedWindow('probe'); cv2.waitKey(1); cv2.destroyAllWindows()"
    return subprocess.run([sys.executable, "-P", "-c", probe], capture_output=True).returncode == 0


def ended_by_key(picture: np.ndarray, wait: bool) -> bool:
    """Shows a picture; whether the user wants to end. An image stays until a key is pressed."""
    import cv2

    cv2.imshow(WINDOW, picture)
    while True:
        key = cv2.waitKey(100 if wait else 1)
        if key & 0xFF in END_KEYS or cv2.getWindowProperty(WINDOW, cv2.WND_PROP_VISIBLE) < 1:  # closed by the mouse
            return True
        if key != -1 or not wait:
            return False
