"""Received bytes in one sparse file per upload, in a directory of ours."""

from app.staging.spool.spool import SpoolStaging

__all__ = ["SpoolStaging"]
