"""Where a server's unix socket goes: into its data directory, or somewhere short if that path is too long for one."""

from __future__ import annotations

import contextlib
import os
import stat

from durable_async.server.home import SOCKET_PATH_BYTES

NAME = "server.sock"


def choose_socket(directory: str) -> str:
    """The path of the socket for a data directory; the same at every start, in the same environment.

    A long path is replaced by one in a directory of mode 700 below the system's directory for temporary files, which
    is created if need be.

    Raises:
        OSError: if that directory cannot be created, or belongs to another user, or others may enter it.
    """
    path = os.path.join(directory, NAME)
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        return path
    import hashlib
    import tempfile

    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    for base in (tempfile.gettempdir(), "/tmp"):  # what is made in it is private
        short = os.path.join(base, f"durable-{os.geteuid()}-{digest}")
        path = os.path.join(short, NAME)
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
            make_private(short)
            return path
    raise OSError(f"no directory for temporary files has a path short enough for a socket: {short}")


def make_private(directory: str) -> None:
    """Create a directory that only this user may enter, or check that it is one.

    Raises:
        OSError: if it cannot be created, or is not a directory of mode 700 that belongs to this user: in a directory
            that all may write, somebody else can have made it first.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    found = os.lstat(directory)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise PermissionError(
            f"{directory} is not a directory that only this user may enter: remove it, or set TMPDIR to another place"
        )


def remove_socket(path: str, directory: str) -> None:
    """Remove the socket of a server that has ended, and the short directory made for it, if there was one."""
    with contextlib.suppress(OSError):
        os.unlink(path)
    if os.path.dirname(path) != directory:
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))
