"""Forebay, the server."""
