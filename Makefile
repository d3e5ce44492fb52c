# What CI checks, on a laptop: `make check`. PYTHON is the interpreter of the virtual environment.
PYTHON ?= .venv/bin/python

.PHONY: check test lint
check: test lint

test:
	$(PYTHON) -m pytest

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	MYPY_NUM_WORKERS=2 $(PYTHON) -m mypy
