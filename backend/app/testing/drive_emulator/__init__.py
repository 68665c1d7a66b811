"""A Google Drive emulator: a test double, not Google Drive, and nothing that the product may import.

It speaks Drive's API, uploads, downloads and OAuth under one root, as strictly as Google documents them, misbehaves by a
script, and tells what happened. In a test:

    with DriveEmulator.in_thread(Options(script=(Rule("upload.put", Status(503), times=1),))) as drive:
        ...  # a server that uses drive.root and drive.authorized_user()
        drive.wait(lambda event: event.kind is Kind.FILE_CREATED)

As a process: `forebay-drive-emulator --port 9999`.
"""

from app.testing.drive_emulator.content import UNIT_BYTES
from app.testing.drive_emulator.emulator import DriveEmulator
from app.testing.drive_emulator.events import Event, EventLog, Kind, Violation
from app.testing.drive_emulator.faults import (
    CommitLess,
    CutAfter,
    ErrorIn200,
    Expire,
    Fault,
    LoseAnswer,
    SlowRead,
    Stall,
    Status,
    WrongDigest,
)
from app.testing.drive_emulator.model import FOLDER, DriveFile
from app.testing.drive_emulator.options import Options
from app.testing.drive_emulator.script import Operation, Rule, ScriptError, parse_rules
from app.testing.drive_emulator.sessions import Session, State

__all__ = [
    "FOLDER",
    "UNIT_BYTES",
    "CommitLess",
    "CutAfter",
    "DriveEmulator",
    "DriveFile",
    "ErrorIn200",
    "Event",
    "EventLog",
    "Expire",
    "Fault",
    "Kind",
    "LoseAnswer",
    "Operation",
    "Options",
    "Rule",
    "ScriptError",
    "Session",
    "SlowRead",
    "Stall",
    "State",
    "Status",
    "Violation",
    "WrongDigest",
    "parse_rules",
]
