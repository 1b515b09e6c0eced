"""Other processes for tests: one that waits to be killed, one without root's rights, and a folder both can reach."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from contextlib import contextmanager
from pathlib import Path


def child(code, *args, **more):
    """A process that says "ready" and then waits for the end."""
    script = "import sys, time\nfrom pathlib import Path\n" + textwrap.dedent(code)
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, args)], stdout=subprocess.PIPE, text=True, **more
    )
    assert process.stdout.readline() == "ready\n"
    return process


def end(process):
    """Kill it."""
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def as_nobody(code, *args):
    """What a process without root's rights prints."""
    drop = "import os\nif os.getuid() == 0:\n    os.setgroups([])\n    os.setgid(65534)\n    os.setuid(65534)\n"
    names = "import sys\nfrom pathlib import Path\nfrom labelwise.errors import RunError\n"
    names += "from labelwise.ownership import owned\nfrom labelwise.store import Store\n"
    script = names + drop + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", script, *map(str, args)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@contextmanager
def open_folder():
    """A folder that a process without rights can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)
