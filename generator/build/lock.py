"""One build at a time in a workspace.

The lock is the kernel's (flock), so it ends with its process: a file left behind by a killed
build locks nobody out.
"""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vacc_gen.schema.errors import StageError


@contextmanager
def build_lock(file: Path) -> Iterator[None]:
    """Hold `file` for as long as the context lasts.

    Raises:
        StageError: another build holds it; the message names its process.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
            raise StageError(
                f"another build runs in this workspace ({holder})", "wait for it, or stop it"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        os.close(descriptor)
