"""Where files go: the port (`port`), its adapters, and `from_url`, which makes one from a setting."""

from app.destinations.factory import DestinationUrlError, from_url, from_urls

__all__ = ["DestinationUrlError", "from_url", "from_urls"]
