"""Algorithms of limiting, pure: no clock, no task, no lock."""
