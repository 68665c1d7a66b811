"""System calls that Python lacks or that need care, for the rooms that keep files. No policy, no errors of ours."""
