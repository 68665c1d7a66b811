"""Alembic's environment and versions; run by `app.persistence.schema` when the database is opened, never by hand.

To change the tables: change `tables.py`, add `versions/vNNNN_what.py` by the example of the first, set `tables.REVISION`.
`backend/tests/contract/test_schema.py` says what differs. A migration only adds (see `tables.py`).
"""
