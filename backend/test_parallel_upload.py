#!/usr/bin/env python3
"""Check this installation: start the real server, upload in both modes, look at limits, memory and endpoints.

    cd backend && python test_parallel_upload.py

Works on a free port and in a temporary directory. The `.env` beside it is checked, but its destination is never used.
Exit status 0 only when everything held.
"""

import os
import sys


def project_python():
    """The virtual environment's interpreter, where `make setup` puts it."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return os.path.join(root, ".venv", "bin", "python")


def main():
    """Run the checks, with the project's own interpreter."""
    backend = os.path.dirname(os.path.abspath(__file__))
    sys.path.insert(0, backend)
    try:
        from app.testing.self_check import run  # noqa: PLC0415 - may need another interpreter
    except (ImportError, SyntaxError):
        python = project_python()
        if os.path.exists(python) and not os.environ.get("FOREBAY_SELF_CHECK"):
            os.environ["FOREBAY_SELF_CHECK"] = "1"  # once: the same failure again is a failure
            os.execv(python, [python, os.path.abspath(__file__)])
        print("Forebay is not installed here: run `make setup` in the project's folder first.", file=sys.stderr)
        return 1
    return run(backend)


if __name__ == "__main__":
    sys.exit(main())
