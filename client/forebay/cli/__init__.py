"""The command `forebay`."""

from forebay.cli._app import main

__all__ = ["main"]
