"""Forebay client: SDK and command."""
