"""A directory as destination."""
