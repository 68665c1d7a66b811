"""Anonymous memory: what is put is got, small and large, from whatever kind of view, and nothing beside it."""

from __future__ import annotations

import os
import threading

import pytest

from app.posix.memory import Arena

KIB = 1024


@pytest.mark.parametrize("length", [0, 1, 256 * KIB - 1, 256 * KIB, 300 * KIB])
@pytest.mark.parametrize("readonly", [True, False])
def test_bytes_come_back(length: int, readonly: bool) -> None:
    """Below and above the size from which on the interpreter's lock is given up."""
    arena = Arena(1024 * KIB)
    data = os.urandom(length)
    arena.put(1000, memoryview(data if readonly else bytearray(data)))
    got = bytearray(length)
    arena.get(1000, memoryview(got))
    assert got == data == bytes(arena.view(1000, length))
    assert not any(arena.view(0, 1000))
    assert not any(arena.view(1000 + length, 1024 * KIB - 1000 - length))


@pytest.mark.parametrize(("position", "length"), [(-1, 2), (1, 512 * KIB), (512 * KIB, 1), (2**70, 1)])
def test_nothing_is_written_or_read_beside_it(position: int, length: int) -> None:
    """The C library would not mind."""
    arena = Arena(512 * KIB)
    for copy in (arena.put, arena.get):
        with pytest.raises(IndexError):
            copy(position, memoryview(bytearray(length)))


def test_a_view_that_is_not_in_one_piece_is_copied_too() -> None:
    """Every second byte."""
    arena = Arena(512 * KIB)
    data = bytearray(os.urandom(600 * KIB))
    arena.put(0, memoryview(data)[::2])
    assert bytes(arena.view(0, 300 * KIB)) == bytes(data[::2])


def test_threads_copy_at_once() -> None:
    """Each into its own part."""
    arena = Arena(4 * 512 * KIB)
    parts = [os.urandom(512 * KIB) for _ in range(4)]

    def work(number: int) -> None:
        for _ in range(20):
            arena.put(number * 512 * KIB, memoryview(bytearray(parts[number])))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert bytes(arena.view(0, 4 * 512 * KIB)) == b"".join(parts)
