# `make demo` and `make test` are all that a new clone needs: they build .venv from the hashed locks and run.
PYTHON ?= python3
BIN := .venv/bin
SHELL := /bin/bash

.PHONY: venv demo test lint lock bench coverage schema clean
.DEFAULT_GOAL := test

# Runtime and demo weights; the demo needs nothing else. `pip install` of this project itself adds no dependency.
.venv/.demo: requirements.lock requirements-demo.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-demo.lock
	touch $@

.venv/.dev: .venv/.demo requirements-dev.lock requirements-second.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --ignore-requires-python -r requirements-second.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

venv: .venv/.dev

demo: .venv/.demo
	$(BIN)/python -m api demo --out demo-reports

test: .venv/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

coverage: .venv/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term-missing:skip-covered

bench: .venv/.dev
	for name in simulate cost adversaries; do $(BIN)/python -m benchmarks $$name --write || exit 1; done


clean:
	rm -rf .venv demo-reports

lock:
	./lock.sh
