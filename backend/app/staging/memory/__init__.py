"""Received bytes in a fixed amount of memory, of each upload a bounded window, for relaying without a disk."""

from app.staging.memory.memory import MemorySpace, MemoryStaging

__all__ = ["MemorySpace", "MemoryStaging"]
