"""How much memory there is for this process and how much of it is used, as the kernel says.

Laws:
- A limit is one of a memory cgroup that this process is in, own or ancestor, if it is below the machine's memory; where
  there is none, the machine itself. v2 is looked at before v1. Of several limits the one nearest to being reached is
  reported, for that is the one that will kill.
- Used is what can't be taken back at once: a cgroup's usage less its `inactive_file` (the spool fills the page cache
  up to any limit; those pages cost nothing), a machine's MemTotal less MemAvailable. Pages that are being written back
  cost nothing either: where the kernel looks for room and meets them, it puts them on the active list until they are
  written (mm/vmscan.c, `shrink_folio_list`), and half a cgroup full of spool would look like memory in use.
- A file that should be there and can't be read or understood is an OSError or a ValueError; no number is made up.

Everything here blocks on files of /proc and /sys: call it in a thread.

Sources: Documentation/admin-guide/cgroup-v2.rst ("Memory Interface Files", "Namespace"), cgroup-v1/memory.rst,
accounting/psi.rst, proc_pid_mountinfo(5), cgroups(7) on /proc/PID/cgroup.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

__all__ = ["MemoryProbe", "MemoryReading"]

Source = Literal["cgroup", "host"]

_PSI_FULL = re.compile(r"^full .*?\bavg10=(\d+(?:\.\d+)?)", re.MULTILINE)
_OCTAL = re.compile(r"\\([0-7]{3})")
_HIERARCHICAL_LIMIT = "hierarchical_memory_limit"


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """What one look at the kernel's files gave; bytes, but for the pressure."""

    used_bytes: int
    limit_bytes: int
    capacity_bytes: int
    """The smallest of all limits: what there is for this process at most."""
    rss_bytes: int
    source: Source
    pressure_percent: float | None
    """Share of the last 10 s in which all tasks waited for memory (PSI `full avg10`); None: the kernel does not say."""


@dataclass(frozen=True, slots=True)
class _Mount:
    """A mounted cgroup hierarchy that accounts for memory, and which of its directories can bind this process."""

    version: Literal[1, 2]
    directories: tuple[Path, ...]  # the process's own first, then its ancestors, as far as they can be seen


@dataclass(frozen=True, slots=True)
class _Level:
    """A cgroup's limit and what it uses."""

    used_bytes: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class _Cache:
    """Names of the page cache's parts in a hierarchy's `memory.stat`."""

    inactive: str
    active: str
    in_writeback: str


class MemoryProbe:
    """Reads the kernel's files; `root` is where / is (another place in tests)."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._proc = root / "proc"
        self._membership: str | None = None  # /proc/self/cgroup as it was when `_mounts` was found
        self._mounts: tuple[_Mount, ...] = ()

    def __call__(self) -> MemoryReading:
        """Take a reading. Blocking; used by one thread at a time.

        Raises:
            OSError: a file can't be read.
            ValueError: a file does not hold what it should.
        """
        used, total = self._machine()
        mounts = self._find_mounts()
        levels = [level for mount in mounts for level in _levels(mount) if level.limit_bytes < total]
        nearest = max(levels, key=lambda level: level.used_bytes / level.limit_bytes, default=_Level(used, total))
        return MemoryReading(
            used_bytes=nearest.used_bytes,
            limit_bytes=nearest.limit_bytes,
            capacity_bytes=min((level.limit_bytes for level in levels), default=total),
            rss_bytes=self._rss(),
            source="cgroup" if levels else "host",
            pressure_percent=self._pressure(mounts),
        )

    def _machine(self) -> tuple[int, int]:
        """Used and total bytes of the machine."""
        try:
            fields = _fields(self._proc / "meminfo", unit="kB")
        except FileNotFoundError:  # not Linux
            memory = psutil.virtual_memory()
            return memory.total - memory.available, memory.total
        try:
            total, available = fields["MemTotal"], fields["MemAvailable"]
        except KeyError as exc:
            raise ValueError(f"{self._proc / 'meminfo'} has no {exc}") from exc
        if not 0 < total >= available:
            raise ValueError(f"{self._proc / 'meminfo'} says {available} of {total} bytes are available")
        return total - available, total

    def _rss(self) -> int:
        try:
            text = (self._proc / "self/statm").read_text()
        except FileNotFoundError:
            return int(psutil.Process().memory_info().rss)
        try:
            return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE")
        except IndexError as exc:
            raise ValueError(f"{self._proc / 'self/statm'} is short: {text!r}") from exc

    def _pressure(self, mounts: tuple[_Mount, ...]) -> float | None:
        own = [mount.directories[0] / "memory.pressure" for mount in mounts if mount.version == 2]  # noqa: PLR2004
        for path in (*own, self._proc / "pressure/memory"):
            try:
                text = path.read_text()
            except FileNotFoundError:
                continue
            except OSError as exc:
                if exc.errno == errno.EOPNOTSUPP:  # PSI is there but switched off
                    continue
                raise
            match = _PSI_FULL.search(text)
            if match is None:
                raise ValueError(f"{path} has no full avg10: {text!r}")
            return float(match[1])
        return None

    def _find_mounts(self) -> tuple[_Mount, ...]:
        """Where this process's memory cgroups are, v2 first; looked for again when they move."""
        try:
            membership = _text(self._proc / "self/cgroup")
        except FileNotFoundError:  # a kernel without cgroups, or no Linux
            return ()
        if membership != self._membership or not all(mount.directories[0].is_dir() for mount in self._mounts):
            mountinfo = _text(self._proc / "self/mountinfo")
            found = (self._visible(version, path, mountinfo) for version, path in _own_paths(membership))
            self._mounts = tuple(sorted(filter(None, found), key=lambda mount: -mount.version))
            self._membership = membership
        return self._mounts

    def _visible(self, version: Literal[1, 2], path: str, mountinfo: str) -> _Mount | None:
        """The mount of the hierarchy that shows most of the process's cgroup and its ancestors; None: none does."""
        views: list[tuple[bool, int, _Mount]] = []
        for mounted_version, mount_root, mount_point in _cgroup_mounts(mountinfo):
            below = _path_below(mount_root, path) if mounted_version == version else None
            if below is None:
                continue
            top = self._root / mount_point.lstrip("/")
            branch = [top.joinpath(*below.names[:depth]) for depth in range(len(below.names), -1, -1)]
            directories = tuple(directory for directory in branch if directory.is_dir())
            if directories:
                views.append((below.exact, len(directories), _Mount(version, directories)))
        return max(views, key=lambda view: view[:2])[2] if views else None


def _own_paths(membership: str) -> Iterator[tuple[Literal[1, 2], str]]:
    """The process's cgroup in the v2 hierarchy and in v1's for memory; lines are `id:controllers:path`."""
    for line in membership.splitlines():
        hierarchy, controllers, path = _parts(line, ":", 3)
        if hierarchy == "0" and not controllers:
            yield 2, path
        elif "memory" in controllers.split(","):
            yield 1, path


def _cgroup_mounts(mountinfo: str) -> Iterator[tuple[Literal[1, 2], str, str]]:
    """Version, root within the hierarchy, and mount point of what can hold memory cgroups."""
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = _parts(right, " ", 3)
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(",")):
            _, _, _, root, point, *_ = _parts(left, " ", 6)
            yield (2 if kind == "cgroup2" else 1), _unescape(root), _unescape(point)


@dataclass(frozen=True, slots=True)
class _Below:
    """Names that lead from a mount down to a cgroup; not exact: they lead to an ancestor of it."""

    names: list[str]
    exact: bool


def _path_below(mount_root: str, path: str) -> _Below | None:
    """Where a cgroup is in a mount; None when it is not below it.

    Both are seen from the root of the cgroup namespace, and what is outside begins with `/..` (cgroup_namespaces(7)).
    Where a mount begins further up than the path, the names between are unknown, and the mount is taken for what it
    is: an ancestor.
    """
    root_ups, root_names = _climb(mount_root)
    ups, names = _climb(path)
    if ups == root_ups and names[: len(root_names)] == root_names:
        return _Below(names[len(root_names) :], exact=True)
    return _Below([], exact=False) if root_ups > ups and not root_names else None


def _climb(path: str) -> tuple[int, list[str]]:
    names = [name for name in path.split("/") if name]
    ups = sum(name == ".." for name in names)
    return ups, names[ups:]


def _levels(mount: _Mount) -> Iterator[_Level]:
    for depth, directory in enumerate(mount.directories):
        if mount.version == 2:  # noqa: PLR2004 - cgroup v2
            level = _level_v2(directory)
        elif depth == 0 or _binds_children_v1(directory):
            level = _level_v1(directory)
        else:
            return
        if level is not None:
            yield level


def _level_v2(directory: Path) -> _Level | None:
    """Above `memory.high` a cgroup is throttled till it can hardly work, so that counts as `memory.max` does."""
    try:
        limits = [(directory / name).read_text().strip() for name in ("memory.max", "memory.high")]
    except FileNotFoundError:  # the root, or the controller is not enabled here
        return None
    numbers = [int(limit) for limit in limits if limit != "max"]
    if not numbers:
        return None
    used = int((directory / "memory.current").read_text())
    return _level(directory, used, min(numbers), _Cache("inactive_file", "active_file", "file_writeback"))


def _level_v1(directory: Path) -> _Level | None:
    """No limit is a number beyond any memory. What a namespace hides shows in `hierarchical_memory_limit`."""
    try:
        limit = int((directory / "memory.limit_in_bytes").read_text())
    except FileNotFoundError:
        return None
    used = int((directory / "memory.usage_in_bytes").read_text())
    cache = _Cache("total_inactive_file", "total_active_file", "total_writeback")
    return _level(directory, used, limit, cache)


def _binds_children_v1(directory: Path) -> bool:
    """Whether a cgroup's limit is also its children's (and so are those above it); always, from Linux 5.11 on."""
    try:
        return (directory / "memory.use_hierarchy").read_text().strip() == "1"
    except FileNotFoundError:
        return True


def _level(directory: Path, usage: int, limit: int, cache: _Cache) -> _Level:
    fields = _fields(directory / "memory.stat")
    if cache.inactive not in fields:
        raise ValueError(f"{directory / 'memory.stat'} has no {cache.inactive}")
    reclaimable = fields[cache.inactive] + min(fields.get(cache.active, 0), fields.get(cache.in_writeback, 0))
    limit = min(limit, fields.get(_HIERARCHICAL_LIMIT, limit))
    if limit < 0 or usage < 0:
        raise ValueError(f"{directory}: {usage} of {limit} bytes")
    # The two files are not read in the same instant, so the difference may come out below zero.
    return _Level(used_bytes=max(0, usage - reclaimable), limit_bytes=max(1, limit))


def _fields(path: Path, unit: str = "") -> dict[str, int]:
    """Lines of a name (with or without a colon), a number, and perhaps kB for KiB.

    Raises:
        OSError: the file can't be read.
        ValueError: a line is none of these.
    """
    fields = {}
    for line in path.read_text().splitlines():
        name, *values = line.split()
        if not values or values[1:] not in ([], [unit]):
            raise ValueError(f"{path} has the line {line!r}")
        fields[name.rstrip(":")] = int(values[0]) * (1024 if values[1:] else 1)
    return fields


def _text(path: Path) -> str:
    """A file with names in it, which need not be UTF-8."""
    return os.fsdecode(path.read_bytes())


def _parts(text: str, separator: str, count: int) -> list[str]:
    parts = text.split(separator, count - 1)
    if len(parts) != count:
        raise ValueError(f"a line of /proc/self is short: {text!r}")
    return parts


def _unescape(text: str) -> str:
    r"""Undo the kernel's octal escapes of space, tab, newline and backslash (`\040`)."""
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
