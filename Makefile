# `make run` starts the server, `make test` runs everything; each sets itself up first.
SHELL := /bin/sh
BIN := $(CURDIR)/.venv/bin

SIZE_MB ?= 900

.PHONY: help run demo test check setup bench lock clean

help:
	@echo "make run     start the server on http://127.0.0.1:8000 (settings: backend/.env)"
	@echo "make demo    one file to an emulated Google Drive, in both modes (SIZE_MB=$(SIZE_MB), five minutes)"
	@echo "make test    all tests          make check   lint, types, layers"
	@echo "make bench   the measurements (ONLY=\"ingest held\": some)   make lock    renew the lock files"

run:
	@scripts/setup run
	@cd backend && exec $(BIN)/forebay-server serve

demo:
	@scripts/setup run
	@exec $(BIN)/python -m bench.demo --size-mb $(SIZE_MB)

setup:
	@scripts/setup dev

check:
	@scripts/setup dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	cd backend && $(BIN)/lint-imports --config ../pyproject.toml
	scripts/page check

test:
	@scripts/setup test
	scripts/page test
	$(BIN)/pytest -n 2

bench:
	@scripts/setup bench
	$(BIN)/python bench/run.py $(ONLY)

lock:
	@scripts/setup dev
	scripts/lock

clean:
	rm -rf .venv
