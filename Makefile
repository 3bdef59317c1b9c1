# `make demo` and `make test` do all the set-up by themselves; see tools/setup.sh.
#   make test ARGS="-k directories"      what pytest is told besides
#   make demo PYTHON=/opt/bin/python3    the interpreter of a new .venv

ARGS ?=
VENV := .venv/bin
# The sources are read from the checkout; a run as root must not leave bytecode that others cannot replace.
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help demo test lint types docs bench clean

help:
	@echo "make demo    the whole facility in a box: one press begins a beamtime"
	@echo "make test    the tests                        (ARGS=... goes to pytest)"
	@echo "make lint    ruff check, ruff format --check, the floors"
	@echo "make types   pyright"
	@echo "make docs    Sphinx into docs/_build; warnings are errors"
	@echo "make bench   the speed, beside bare peers     (ARGS=... goes to benchmarks/run.py)"
	@echo "make clean   remove what the others leave, but not .venv"

demo:
	@tools/setup.sh sim
	@$(VENV)/beamtime demo $(ARGS)

test:
	@tools/test.sh $(ARGS)

lint:
	@tools/setup.sh sim test docs dev
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/lint-imports --no-cache

types:
	@tools/setup.sh sim test docs dev
	$(VENV)/pyright

docs:
	@tools/setup.sh sim test docs dev
	$(VENV)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "docs: docs/_build/html/index.html"

bench:
	@tools/setup.sh sim test
	$(VENV)/python benchmarks/run.py $(ARGS)

clean:
	rm -rf docs/_build build dist .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find ioc handlers sim tests tools benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
