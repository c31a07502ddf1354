"""Niceness: of one thread, or of a child with the session that it leads."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from registry.niceness import NICEST, STEPS, Waits, give_way, kept_waiting_s, stand_aside

THREADED = """
import sys, threading
threading.Thread(target=sys.stdin.read).start()
print("ready", flush=True)
"""
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")


def niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


@LINUX
def test_a_thread_gives_way_alone() -> None:
    """The others of its process stay as they are."""
    before, found = niceness(0), []

    def work() -> None:
        give_way()
        found.append(niceness(threading.get_native_id()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ([min(19, before + STEPS)], before) == (found, niceness(0))


@LINUX
def test_a_child_gives_way_with_its_session() -> None:
    """Where the kernel groups by session, the group is what counts."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=True) as child:
        group = Path(f"/proc/{child.pid}/autogroup")
        grouped = group.exists()
        give_way(child.pid)
        assert min(19, niceness(0) + STEPS) == niceness(child.pid)
        assert not grouped or group.read_text("ascii").endswith(f" nice {STEPS}\n")
        assert kept_waiting_s(child.pid) >= 0.0


@LINUX
def test_who_stands_aside_has_a_core_only_where_nobody_else_wants_it() -> None:
    """All of its threads, and nobody else's."""
    with subprocess.Popen([sys.executable, "-c", THREADED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert b"ready" == child.stdout.readline().strip()
        stand_aside(child.pid)
        threads = [int(thread) for thread in os.listdir(f"/proc/{child.pid}/task")]
        assert (2, {os.SCHED_IDLE}) == (len(threads), {os.sched_getscheduler(thread) for thread in threads})
        child.communicate()
    assert os.SCHED_OTHER == os.sched_getscheduler(0)


@LINUX
def test_who_has_given_way_can_give_way_more() -> None:
    """To the end of the scale."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=True) as child:
        give_way(child.pid)
        give_way(child.pid, steps=NICEST)
        assert NICEST == niceness(child.pid)


def test_who_is_gone_is_left_alone() -> None:
    """No error, and no time."""
    with subprocess.Popen(["true"]) as child:
        pass
    give_way(child.pid)
    assert 0.0 == kept_waiting_s(child.pid)


def test_a_thread_is_told_what_it_waited_for_a_core() -> None:
    """The same number as the kernel's own, which never falls; after the end there is none."""
    waits = Waits()
    before = waits.seconds()
    told = kept_waiting_s(threading.get_native_id())
    after = waits.seconds()
    assert 0.0 <= before <= told <= after
    waits.close()
    waits.close()
    assert 0.0 == waits.seconds()
