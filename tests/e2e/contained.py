"""Starts a program as a container engine would, with nothing but the kernel: a root of its own that is read-only, a number as its user,
no capabilities, no processes but its own. The network is this machine's.

Run as a program, with a `Cell` as its one argument. It passes SIGTERM on and ends with the status of what it started; 125 where the
cell cannot be built. Whoever is not root gets a user namespace for it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

NO_CELL = 125
_NEWNS, _NEWUSER, _NEWPID = 0x00020000, 0x10000000, 0x20000000  # linux/sched.h
_RDONLY, _NOSUID, _NODEV, _REMOUNT, _BIND, _REC, _PRIVATE, _RELATIME = 1, 2, 4, 32, 4096, 16384, 1 << 18, 1 << 21  # linux/mount.h
_KEPT = _NOSUID | _NODEV | 8 | 1024 | 2048  # flags that statvfs(3) and mount(2) number alike; 8: noexec, the others: access times
_ST_RELATIME = 4096
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38  # linux/prctl.h
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Cell:
    """What is inside. Pairs are (place outside, place inside)."""

    root: str  # an empty directory to build it on
    shown: list[tuple[str, str]]  # read-only
    written: list[tuple[str, str]]  # "" for a place in memory
    user: int
    environment: dict[str, str]
    command: list[str]

    def encoded(self) -> str:
        """The argument of this program."""
        return json.dumps(asdict(self))


def build(cell: Cell) -> None:
    """Mount everything. Raises `OSError` that names the step."""
    _mount("none", "/", flags=_REC | _PRIVATE)
    _mount("tmpfs", cell.root, "tmpfs", _NOSUID | _NODEV, "mode=0755")
    for source, target in cell.written:
        if source:
            _bind(source, cell.root + target, read_only=False)
        else:
            Path(cell.root + target).mkdir(parents=True, exist_ok=True)
            _mount("tmpfs", cell.root + target, "tmpfs", _NOSUID | _NODEV, "mode=1777")
    for source, target in cell.shown:  # after those: a checkout may lie below /tmp
        _bind(source, cell.root + target, read_only=True)
    for device in _DEVICES:
        _bind(device, cell.root + device, read_only=False)
    Path(cell.root + "/proc").mkdir()
    _mount(None, cell.root, flags=_REMOUNT | _BIND | _RDONLY | _flags(cell.root))


def enter(cell: Cell, *, root: bool) -> NoReturn:
    """Become the program, as process 1 of the cell."""
    _mount("proc", cell.root + "/proc", "proc", _NOSUID | _NODEV)
    os.chroot(cell.root)
    os.chdir("/")
    for capability in range(64):
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if root:
        os.setgroups([])
    os.setresgid(cell.user, cell.user, cell.user)
    os.setresuid(cell.user, cell.user, cell.user)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.execvpe(cell.command[0], cell.command, cell.environment)


def main(argument: str) -> int:
    """The program: its exit status."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    cell, root = Cell(**json.loads(argument)), os.geteuid() == 0
    try:
        _separate(cell.user, root=root)
        build(cell)
    except OSError as error:
        sys.stderr.write(f"this needs mount, process and, without root, user namespaces: {error}\n")
        return NO_CELL
    child = os.fork()
    if child == 0:
        try:
            enter(cell, root=root)
        except OSError as error:
            sys.stderr.write(f"the cell cannot be entered: {error}\n")
            os._exit(NO_CELL)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGTERM))
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def _separate(user: int, *, root: bool) -> None:
    mine = os.geteuid(), os.getegid()
    if _libc.unshare(_NEWNS | _NEWPID | (0 if root else _NEWUSER)) != 0:
        raise _error("unshare")
    if not root:
        Path("/proc/self/setgroups").write_text("deny")
        for name, outside in zip(("uid_map", "gid_map"), mine, strict=True):
            Path(f"/proc/self/{name}").write_text(f"{user} {outside} 1")


def _bind(source: str, target: str, *, read_only: bool) -> None:
    place = Path(target)
    if Path(source).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    _mount(source, target, flags=_BIND | _REC)
    if read_only:
        _mount(None, target, flags=_REMOUNT | _BIND | _RDONLY | _flags(target))


def _flags(target: str) -> int:
    """Those that a mount has already and that may not be taken from it."""
    now = os.statvfs(target).f_flag
    return now & _KEPT | (_RELATIME if now & _ST_RELATIME else 0)


def _mount(source: str | None, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, data)]
    if _libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]) != 0:
        raise _error(f"mount {target}")


def _error(deed: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{deed}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
