"""The memory probe against trees of /proc and /sys files as kernels and containers show them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import psutil
import pytest

from app.services.memory_monitor import MemoryProbe

MIB = 1024 * 1024
NO_LIMIT_V1 = 9223372036854771712  # PAGE_COUNTER_MAX in bytes
MEMINFO = (
    "MemTotal:        4194304 kB\nMemFree:          104857 kB\nMemAvailable:    3145728 kB\nHugePages_Total:       0\n"
)


class Machine:
    """A root with /proc of a 4 GiB machine of which 1 GiB is used."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.write("proc/meminfo", MEMINFO)
        self.write("proc/self/statm", "9000 1234 800 1 0 3000 0\n")
        self.write("proc/self/cgroup", "0::/\n")
        self.write("proc/self/mountinfo", "")
        self.probe = MemoryProbe(root)

    def write(self, path: str, text: str) -> None:
        """Put a file there."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def member_of(self, *lines: str) -> None:
        """/proc/self/cgroup."""
        self.write("proc/self/cgroup", "".join(f"{line}\n" for line in lines))

    def mount(
        self, version: int, root: str = "/", point: str = "/sys/fs/cgroup", *, options: str = "rw,memory"
    ) -> None:
        """Add a line to mountinfo; the optional fields before the dash vary in number on real systems too."""
        kind = "cgroup2 cgroup2 rw,nsdelegate" if version == 2 else f"cgroup cgroup {options}"
        target = self.root / "proc/self/mountinfo"
        line = f"30 23 0:26 {root} {point} ro,nosuid shared:4 master:1 - {kind}\n"
        target.write_text(target.read_text() + line)

    def v2(
        self,
        path: str,
        current: int,
        limit: int | str = "max",
        *,
        inactive: int = 0,
        high: int | str = "max",
        active: int = 0,
        writeback: int = 0,
    ) -> None:
        """A v2 cgroup with the memory controller; sizes in MiB."""
        base = f"sys/fs/cgroup/{path}"
        self.write(f"{base}/memory.max", f"{limit * MIB if isinstance(limit, int) else limit}\n")
        self.write(f"{base}/memory.high", f"{high * MIB if isinstance(high, int) else high}\n")
        self.write(f"{base}/memory.current", f"{current * MIB}\n")
        self.write(
            f"{base}/memory.stat",
            f"anon 1\nfile 2\nfile_writeback {writeback * MIB}\ninactive_file {inactive * MIB}\n"
            f"active_file {active * MIB}\n",
        )

    def v1(
        self,
        path: str,
        usage: int,
        limit: int | None,
        *,
        inactive: int = 0,
        hierarchical: int | None = None,
        active: int = 0,
        writeback: int = 0,
    ) -> None:
        """A v1 memory cgroup; sizes in MiB, no limit as the kernel writes it."""
        base = f"sys/fs/cgroup/memory/{path}"
        bytes_limit = NO_LIMIT_V1 if limit is None else limit * MIB
        effective = bytes_limit if hierarchical is None else hierarchical * MIB
        self.write(f"{base}/memory.limit_in_bytes", f"{bytes_limit}\n")
        self.write(f"{base}/memory.usage_in_bytes", f"{usage * MIB}\n")
        self.write(f"{base}/memory.use_hierarchy", "1\n")
        self.write(
            f"{base}/memory.stat",
            f"writeback 0\ninactive_file 0\nactive_file 0\nhierarchical_memory_limit {effective}\n"
            f"total_writeback {writeback * MIB}\ntotal_inactive_file {inactive * MIB}\n"
            f"total_active_file {active * MIB}\n",
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without any memory cgroup."""
    return Machine(tmp_path)


def test_machine_without_cgroups_is_measured_as_host(machine: Machine) -> None:
    """MemTotal less MemAvailable, of MemTotal; RSS in pages from statm; no PSI, no number."""
    reading = machine.probe()
    assert (reading.used_bytes, reading.limit_bytes, reading.capacity_bytes) == (1024 * MIB, 4096 * MIB, 4096 * MIB)
    assert reading.source == "host"
    assert reading.rss_bytes == 1234 * os.sysconf("SC_PAGE_SIZE")
    assert reading.pressure_percent is None


def test_kernel_without_cgroups_is_measured_as_host(machine: Machine) -> None:
    """No /proc/self/cgroup at all."""
    (machine.root / "proc/self/cgroup").unlink()
    assert machine.probe().source == "host"


def test_system_without_proc_is_measured_by_psutil(tmp_path: Path) -> None:
    """Elsewhere than on Linux."""
    reading = MemoryProbe(tmp_path)()
    assert reading.source == "host"
    assert reading.limit_bytes == psutil.virtual_memory().total
    assert 0 < reading.used_bytes < reading.limit_bytes
    assert reading.rss_bytes > MIB


def test_v2_limit_counts_usage_without_inactive_file(machine: Machine) -> None:
    """The page cache that the spool fills is not in the way."""
    machine.member_of("0::/system.slice/forebay.service")
    machine.mount(2)
    machine.v2("system.slice/forebay.service", 500, 512, inactive=450)
    reading = machine.probe()
    assert (reading.used_bytes, reading.limit_bytes, reading.source) == (50 * MIB, 512 * MIB, "cgroup")


@pytest.mark.parametrize(
    ("active", "writeback", "used"),
    [(200, 180, 120), (200, 300, 100), (200, 0, 300)],
    ids=["some of the active are being written", "others are as well", "none"],
)
@pytest.mark.parametrize("version", [1, 2])
def test_pages_being_written_back_are_not_in_the_way(
    machine: Machine, version: int, active: int, writeback: int, used: int
) -> None:
    """The kernel has them on the active list until they are written; what else is active counts."""
    machine.member_of("4:memory:/a" if version == 1 else "0::/a")
    machine.mount(version, point="/sys/fs/cgroup/memory" if version == 1 else "/sys/fs/cgroup")
    make = machine.v1 if version == 1 else machine.v2
    make("a", 500, 512, inactive=200, active=active, writeback=writeback)
    assert machine.probe().used_bytes == used * MIB


def test_v2_ancestor_nearest_to_its_limit_is_reported(machine: Machine) -> None:
    """The own limit is smaller; the slice's is the one that others have nearly used up."""
    machine.member_of("0::/a.slice/b.slice/forebay.service")
    machine.mount(2)
    machine.v2("a.slice/b.slice/forebay.service", 100, 512)
    machine.v2("a.slice/b.slice", 900, "max")
    machine.v2("a.slice", 950, 1024, inactive=10)
    reading = machine.probe()
    assert (reading.used_bytes, reading.limit_bytes) == (940 * MIB, 1024 * MIB)
    assert reading.capacity_bytes == 512 * MIB


def test_v2_tightest_of_nested_limits_is_reported_when_usage_is_the_same(machine: Machine) -> None:
    """An ancestor's smaller limit binds whatever the own says."""
    machine.member_of("0::/a/b")
    machine.mount(2)
    machine.v2("a/b", 200, 2048)
    machine.v2("a", 200, 256)
    reading = machine.probe()
    assert (reading.limit_bytes, reading.capacity_bytes) == (256 * MIB, 256 * MIB)


def test_v2_memory_high_counts_as_a_limit(machine: Machine) -> None:
    """Above it the kernel throttles everything in the cgroup."""
    machine.member_of("0::/a")
    machine.mount(2)
    machine.v2("a", 200, "max", high=256)
    assert machine.probe().limit_bytes == 256 * MIB


def test_v2_without_limits_leaves_the_host(machine: Machine) -> None:
    """`max` is no limit, and the root has no files at all."""
    machine.member_of("0::/a/b")
    machine.mount(2)
    machine.v2("a/b", 200, "max")
    machine.v2("a", 300, "max")
    assert machine.probe().source == "host"


def test_limit_beyond_the_machine_is_none(machine: Machine) -> None:
    """64 GiB allowed on a 4 GiB machine."""
    machine.member_of("0::/a")
    machine.mount(2)
    machine.v2("a", 200, 65_536)
    reading = machine.probe()
    assert (reading.source, reading.limit_bytes) == ("host", 4096 * MIB)


def test_v2_namespace_shows_the_container_as_root(machine: Machine) -> None:
    """In a container with its own namespace the path is / and the files lie in the mount itself."""
    machine.member_of("0::/")
    machine.mount(2)
    machine.v2("", 100, 256)
    assert machine.probe().limit_bytes == 256 * MIB


def test_v2_mount_from_outside_the_namespace_binds_as_ancestor(machine: Machine) -> None:
    """A mount that begins above the namespace's root: the names between are unknown, its own limit still binds."""
    machine.member_of("0::/")
    machine.mount(2, root="/../..")
    machine.v2("", 100, 256)
    assert machine.probe().limit_bytes == 256 * MIB


def test_v2_path_outside_the_namespace_is_found_in_a_mount_that_reaches_it(machine: Machine) -> None:
    """A process that entered from a sibling sees `/../sibling`; only a mount of that height shows it."""
    machine.member_of("0::/../sibling/x")
    machine.mount(2, root="/", point="/mnt/inner")
    machine.mount(2, root="/..")
    machine.v2("sibling/x", 100, 256)
    machine.write("mnt/inner/memory.max", f"{MIB}\n")
    assert machine.probe().limit_bytes == 256 * MIB


def test_v2_path_outside_every_mount_leaves_the_host(machine: Machine) -> None:
    """A limit that is not ours is not taken for ours."""
    machine.member_of("0::/../sibling")
    machine.mount(2)
    machine.v2("", 100, 256)
    assert machine.probe().source == "host"


def test_mount_that_shows_most_ancestors_is_used(machine: Machine) -> None:
    """A bind mount of the own cgroup hides the ancestor with the limit; the full mount comes second."""
    machine.member_of("0::/a/b")
    machine.mount(2, root="/a/b", point="/mnt/own")
    machine.mount(2)
    machine.write("mnt/own/memory.max", "max\n")
    machine.v2("a/b", 100, "max")
    machine.v2("a", 100, 256)
    assert machine.probe().limit_bytes == 256 * MIB


def test_v1_limit_counts_usage_without_total_inactive_file(machine: Machine) -> None:
    """Of the hierarchy, as the usage is."""
    machine.member_of("9:name=systemd:/x", "4:cpu,memory:/docker/abc", "0::/")
    machine.mount(1, point="/sys/fs/cgroup/memory")
    machine.v1("docker/abc", 500, 512, inactive=450)
    reading = machine.probe()
    assert (reading.used_bytes, reading.limit_bytes, reading.source) == (50 * MIB, 512 * MIB, "cgroup")


def test_v1_container_without_namespace_is_found_by_the_mounts_root(machine: Machine) -> None:
    """Docker on v1: the path names the container, and the mount begins there."""
    machine.member_of("4:memory:/docker/abc")
    machine.mount(1, root="/docker/abc", point="/sys/fs/cgroup/memory")
    machine.v1("", 100, 256)
    assert machine.probe().limit_bytes == 256 * MIB


def test_v1_ancestors_limit_binds(machine: Machine) -> None:
    """No limit of its own, as v1 writes it, below an ancestor with one."""
    machine.member_of("4:memory:/a/b")
    machine.mount(1, point="/sys/fs/cgroup/memory")
    machine.v1("a/b", 100, None, hierarchical=512)
    machine.v1("a", 400, 512, inactive=100)
    machine.v1("", 3000, None)
    reading = machine.probe()
    assert (reading.used_bytes, reading.limit_bytes) == (300 * MIB, 512 * MIB)


def test_v1_hidden_ancestors_limit_binds_through_the_hierarchical_limit(machine: Machine) -> None:
    """In a namespace the ancestor can't be seen; what the kernel says of it can."""
    machine.member_of("4:memory:/")
    machine.mount(1, point="/sys/fs/cgroup/memory")
    machine.v1("", 100, None, hierarchical=512)
    reading = machine.probe()
    assert (reading.limit_bytes, reading.source) == (512 * MIB, "cgroup")


def test_v1_ancestor_without_hierarchy_does_not_bind(machine: Machine) -> None:
    """Old kernels: a limit that holds for the ancestor's own processes only."""
    machine.member_of("4:memory:/a/b")
    machine.mount(1, point="/sys/fs/cgroup/memory")
    machine.v1("a/b", 100, 2048)
    machine.v1("a", 100, 128)
    machine.write("sys/fs/cgroup/memory/a/memory.use_hierarchy", "0\n")
    assert machine.probe().limit_bytes == 2048 * MIB


def test_v1_without_hierarchy_file_is_hierarchical(machine: Machine) -> None:
    """New kernels know nothing else."""
    machine.member_of("4:memory:/a/b")
    machine.mount(1, point="/sys/fs/cgroup/memory")
    machine.v1("a/b", 100, 2048)
    machine.v1("a", 100, 128)
    (machine.root / "sys/fs/cgroup/memory/a/memory.use_hierarchy").unlink()
    assert machine.probe().limit_bytes == 128 * MIB


def test_hybrid_system_is_measured_where_the_controller_is(machine: Machine) -> None:
    """v2 is mounted without the memory controller, v1 has it; other v1 controllers are not looked at."""
    machine.member_of("5:cpu:/elsewhere", "4:memory:/a", "0::/a")
    machine.mount(1, point="/sys/fs/cgroup/cpu", options="rw,cpu")
    machine.mount(1, point="/sys/fs/cgroup/memory")
    machine.mount(2, point="/sys/fs/cgroup/unified")
    machine.write("sys/fs/cgroup/unified/a/cgroup.procs", "")
    machine.v1("a", 100, 256)
    assert machine.probe().limit_bytes == 256 * MIB


def test_mount_point_with_a_space_is_unescaped(machine: Machine) -> None:
    """Mountinfo writes it as an octal escape."""
    machine.member_of("0::/a b")
    machine.mount(2, point="/sys/fs/cgroup/my\\040mount")
    machine.v2("my mount/a b", 100, 256)
    assert machine.probe().limit_bytes == 256 * MIB


def test_moved_process_is_measured_where_it_is_now(machine: Machine) -> None:
    """A service manager may move it."""
    machine.member_of("0::/a")
    machine.mount(2)
    machine.v2("a", 100, 256)
    machine.v2("b", 100, 128)
    assert machine.probe().limit_bytes == 256 * MIB
    machine.member_of("0::/b")
    assert machine.probe().limit_bytes == 128 * MIB


def test_moved_mount_is_found_again(machine: Machine) -> None:
    """The cgroup's directory went away and came back elsewhere."""
    machine.member_of("0::/a")
    machine.mount(2, point="/sys/fs/cgroup/old")
    machine.v2("old/a", 100, 256)
    assert machine.probe().limit_bytes == 256 * MIB
    machine.write("proc/self/mountinfo", "")
    machine.mount(2, point="/sys/fs/cgroup/new")
    machine.v2("new/a", 100, 128)
    shutil.rmtree(machine.root / "sys/fs/cgroup/old")
    assert machine.probe().limit_bytes == 128 * MIB


def test_changed_limit_counts_at_once(machine: Machine) -> None:
    """`systemctl set-property` while running."""
    machine.member_of("0::/a")
    machine.mount(2)
    machine.v2("a", 100, 256)
    assert machine.probe().limit_bytes == 256 * MIB
    machine.v2("a", 100, 512)
    assert machine.probe().limit_bytes == 512 * MIB


def test_usage_read_before_the_cache_grew_is_not_negative(machine: Machine) -> None:
    """Two files are never of the same instant."""
    machine.member_of("0::/a")
    machine.mount(2)
    machine.v2("a", 100, 256, inactive=101)
    assert machine.probe().used_bytes == 0


PSI = "some avg10={some} avg60=0.00 avg300=0.00 total=1\nfull avg10={full} avg60=9.00 avg300=9.00 total=1\n"


def test_pressure_is_the_cgroups_full_avg10(machine: Machine) -> None:
    """Of the v2 cgroup before the machine's."""
    machine.member_of("0::/a")
    machine.mount(2)
    machine.v2("a", 100, 256)
    machine.write("sys/fs/cgroup/a/memory.pressure", PSI.format(some="80.00", full="41.25"))
    machine.write("proc/pressure/memory", PSI.format(some="1.00", full="2.00"))
    assert machine.probe().pressure_percent == 41.25


def test_pressure_without_v2_is_the_machines(machine: Machine) -> None:
    """From /proc/pressure."""
    machine.member_of("4:memory:/a")
    machine.mount(1, point="/sys/fs/cgroup/memory")
    machine.v1("a", 100, 256)
    machine.write("proc/pressure/memory", PSI.format(some="1.00", full="2.00"))
    assert machine.probe().pressure_percent == 2.0


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("proc/meminfo", "MemTotal: 4194304 kB\n"),
        ("proc/meminfo", "MemTotal: four kB\nMemAvailable: 1 kB\n"),
        ("proc/meminfo", "MemTotal: 4 MB\nMemAvailable: 1 kB\n"),
        ("proc/meminfo", "MemTotal: 4 kB\nMemAvailable: 5 kB\n"),
        ("proc/meminfo", ""),
        ("proc/meminfo", "MemTotal:\n"),
        ("proc/self/statm", ""),
        ("proc/self/statm", "1 x"),
        ("proc/self/cgroup", "nonsense\n"),
        ("proc/self/mountinfo", "30 23 - cgroup2\n"),
        ("proc/self/mountinfo", "30 23 0:26 - cgroup2 cgroup2 rw\n"),
        ("sys/fs/cgroup/a/memory.max", "much\n"),
        ("sys/fs/cgroup/a/memory.max", ""),
        ("sys/fs/cgroup/a/memory.current", "-5\n"),
        ("sys/fs/cgroup/a/memory.current", "0x10\n"),
        ("sys/fs/cgroup/a/memory.stat", "anon 5\n"),
        ("sys/fs/cgroup/a/memory.stat", "inactive_file\n"),
        ("sys/fs/cgroup/a/memory.pressure", "some avg10=0.00\n"),
        ("proc/pressure/memory", "full avg10=lots\n"),
    ],
)
def test_malformed_file_is_an_error_and_not_a_number(machine: Machine, path: str, text: str) -> None:
    """Whatever is wrong in whichever file; and once it is right again, so is the reading."""
    machine.member_of("0::/a")
    machine.mount(2)
    machine.v2("a", 100, 256)
    target = machine.root / path
    right = target.read_text() if target.exists() else None
    machine.write(path, text)
    with pytest.raises(ValueError, match=r".+"):
        machine.probe()
    target.unlink() if right is None else target.write_text(right)
    assert machine.probe().limit_bytes == 256 * MIB


@pytest.mark.parametrize("name", ["memory.current", "memory.stat"])
def test_missing_file_of_a_limited_cgroup_is_an_error(machine: Machine, name: str) -> None:
    """A limit without usage says nothing; the host's figure would be another thing's."""
    machine.member_of("0::/a")
    machine.mount(2)
    machine.v2("a", 100, 256)
    (machine.root / "sys/fs/cgroup/a" / name).unlink()
    with pytest.raises(FileNotFoundError):
        machine.probe()


def test_name_that_is_not_utf8_is_read_all_the_same(machine: Machine) -> None:
    """The kernel passes names on as bytes."""
    (machine.root / "proc/self/cgroup").write_bytes(b"0::/a\xff\n")
    machine.mount(2)
    machine.v2(os.fsdecode(b"a\xff"), 100, 256)
    assert machine.probe().limit_bytes == 256 * MIB
