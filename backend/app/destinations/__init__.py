"""Where files go: the port (`port`), its adapters, and `from_url`, which makes one from a setting."""
