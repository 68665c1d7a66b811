"""A directory as destination."""

from app.destinations.disk.destination import DiskDestination

__all__ = ["DiskDestination"]
