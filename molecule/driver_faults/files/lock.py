"""STAND-IN for another package manager: holds a lock for some seconds, from when it says so. lock.py FILE SECONDS"""

import fcntl
import sys
import time
from pathlib import Path

with Path(sys.argv[1]).open("w") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    Path("/run/standin-lock").touch()
    time.sleep(float(sys.argv[2]))
