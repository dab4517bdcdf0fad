# `make demo` and `make test` need nothing but Python 3.11 and this checkout.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

.PHONY: env demo test cluster-test lint services smoke bench-draw bench-gain bench-overhead bench-scaling bench-snapshot bench-sweep bench-trial

env: $(VENV)/.ready

# torch first, by version: a plain `torch` would bring the newest build with several GB of CUDA libraries
# on machines where a CPU wheel of this version is offered.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check numpy torch==2.13.0 -c constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	touch $@

demo: env  ## data, two teachers, four students, a table; FLAGS=--fresh trains again
	$(BIN)/python -m jobs.demo $(FLAGS)

test: env
	$(BIN)/pytest

faults: env services  ## every fault the platform must survive, and what was lost; FLAGS=--publish writes docs/faults.md
	$(BIN)/python -m tests.faults.matrix $(FLAGS)

cluster-test: env  ## clusters that grow, shrink and lose machines, on this one
	$(BIN)/pytest tests/cluster -m "ray or not ray"

services:  ## what the tests of object storage run against: Ceph's S3, from Debian's packages
	tests/services/install

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

smoke: env  ## the demo's whole way with a handful of steps, in a folder that is thrown away
	$(BIN)/python -m jobs.demo --smoke

bench-draw bench-gain bench-overhead bench-scaling bench-snapshot bench-sweep bench-trial: bench-%: env  ## the last line is one JSON object; FLAGS=--help says what each takes
	$(BIN)/python tests/bench/$*.py $(FLAGS)
