"""What the server's event loop waits for, seen from outside: the kernel says in which call its thread sleeps.

A loop sleeps in epoll while there is nothing to do, and in futex while another thread has Python's lock. Anything else
is a call that blocks it: a disk, a database, a name to look up. On a machine whose processors are all taken the loop is
late without any of these, so lateness alone does not tell. A page fault that waits (for memory, or for code that was
thrown out of it) is no call, and is seen as well. Prints the longest such sleep in milliseconds, and what it was ("-":
none was seen), when its input ends.
"""

from __future__ import annotations

import platform
import sys
import threading
import time
from pathlib import Path

__all__ = ["longest_wait"]

INTERVAL_S = 0.01
# Numbers of epoll_wait, epoll_pwait, epoll_pwait2 and futex (arch/x86/entry/syscalls, include/uapi/asm-generic/unistd.h).
_IDLE = {"x86_64": {"232", "281", "441", "202"}, "aarch64": {"22", "441", "98"}}
_NO_CALL = "-1"  # asleep outside of any (proc_pid_syscall(5))


def longest_wait(pid: int, over: threading.Event) -> tuple[float, str]:
    """Look at the main thread of `pid` every few milliseconds until `over`.

    Returns:
        Seconds, and what it was (a call by its number); shorter ones than `INTERVAL_S` are seen now and then, as 0.
    """
    thread = Path(f"/proc/{pid}/task/{pid}")
    idle = _IDLE[platform.machine()]
    longest, culprit = 0.0, "-"
    began: float | None = None
    while not over.wait(INTERVAL_S):
        try:
            state = (thread / "stat").read_text().rpartition(")")[2].split()[0]
            call = (thread / "syscall").read_text().split()[0]
        except OSError:
            break  # it has ended
        now = time.monotonic()
        if state not in "SD" or call == "running" or call in idle:
            began = None
            continue
        began = now if began is None else began
        if now - began >= longest:
            longest, culprit = now - began, "a page fault" if call == _NO_CALL else f"system call {call}"
    return longest, culprit


def _main() -> None:
    over = threading.Event()

    def read() -> None:
        sys.stdin.read()
        over.set()

    reading = threading.Thread(target=read)
    reading.start()
    seconds, call = longest_wait(int(sys.argv[1]), over)
    reading.join()
    print(seconds * 1000, call)


if __name__ == "__main__":
    _main()
