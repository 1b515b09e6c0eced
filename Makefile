# What a developer types. `make demo` and `make test` set everything up themselves; they need Python 3.11 or newer and make.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= labelwise-demo
PYTEST ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint types docs bench clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name about; do printf '  make %-7s %s\n' "$$name" "$$about"; done

demo: $(STAMP)  ## simulate strategies on data made here, print tables, write reports (DEMO=folder)
	$(BIN)/labelwise demo "$(DEMO)"

test: $(STAMP)  ## the default tests: no network, no GPU, no browser (PYTEST="-k store" adds options)
	$(BIN)/python -m pytest -m "not slow and not browser and not ray and not mmseg and not smp and not transformers and not ultralytics and not datumaro and not frictionless and not fiftyone and not labelstudio and not onnx" $(PYTEST)

lint: $(STAMP)  ## ruff
	$(BIN)/ruff check .

types: $(STAMP)  ## mypy, strict on src
	$(BIN)/mypy

docs: $(STAMP)  ## write the generated regions of docs/ anew
	$(BIN)/python docs/generate.py

bench: $(STAMP)  ## the benchmarks, quickly; without --quick they rewrite docs/benchmarks.md
	@for script in benchmarks/*.py; do \
		[ "$$script" = benchmarks/common.py ] || { echo "== $$script"; $(BIN)/python "$$script" --quick || exit 1; }; \
	done

clean:  ## remove what make and the tools have made, runs excepted
	rm -rf "$(VENV)" labelwise-demo dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests benchmarks docs examples -name __pycache__ -prune -exec rm -rf {} +

# Once, and again when the requirements change.
$(STAMP): pyproject.toml constraints.txt
	@command -v "$(PYTHON)" >/dev/null || { echo "make: no '$(PYTHON)' here: install Python 3.11 or newer, or give PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: expected Python 3.11 or newer, found $$("$(PYTHON)" --version 2>&1): give PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) cannot make a virtual environment: install its venv package (Debian: apt-get install python3-venv)" >&2; exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' -c constraints.txt
	@touch "$(STAMP)"
