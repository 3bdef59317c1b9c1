# `make demo` and `make test` do all the set-up by themselves; see tools/setup.sh.
#   make test ARGS="-k directories"      what pytest is told besides
#   make chaos ACTIONS=150 KILLS=1,4     how many actions; a kill each 1 to 4 s; SEED=7 repeats one
#   make crash CRASH=handover            which actions are killed at every edge
#   make fuzz SECONDS=300                broken messages at CA, then at PVA, for so long each; SEED=7 repeats
#   make demo PYTHON=/opt/bin/python3    the interpreter of a new .venv

ARGS ?=
ACTIONS ?= 5000
KILLS ?= 5,40
SEED ?=
SECONDS ?= 60
CRASH ?= update-user-info create-directories email-users begin-beamtime end-beamtime handover
VENV := .venv/bin
# The sources are read from the checkout; a run as root must not leave bytecode that others cannot replace.
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help demo test lint types docs bench chaos crash fuzz screens clean

help:
	@echo "make demo    the whole facility in a box: one press begins a beamtime"
	@echo "make test    the tests                        (ARGS=... goes to pytest)"
	@echo "make lint    ruff check, ruff format --check, the floors"
	@echo "make types   pyright"
	@echo "make docs    Sphinx into docs/_build; warnings are errors"
	@echo "make bench   the speed, beside bare peers     (ARGS=... goes to benchmarks/run.py)"
	@echo "make screens every screen of MEDM and Phoebus as a picture, into docs/images"
	@echo "make chaos   an IOC at work, killed again and again: nothing lost, nothing doubled (ACTIONS=, KILLS=)"
	@echo "make crash   the actions killed at every edge, and every reply lost (CRASH=)"
	@echo "make fuzz    broken messages at every port: it serves on, no value changes (SECONDS=, SEED=)"
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
	@tools/setup.sh sim test docs dev bench
	$(VENV)/pyright

docs:
	@tools/setup.sh sim test docs dev
	$(VENV)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "docs: docs/_build/html/index.html"

bench:
	@tools/setup.sh sim test bench
	$(VENV)/python benchmarks/run.py $(ARGS)

chaos:
	@tools/setup.sh sim test
	@PYTHONPATH=tests$${PYTHONPATH:+:$$PYTHONPATH} $(VENV)/python -m chaos \
		--actions $(ACTIONS) --kills $(KILLS) $(if $(SEED),--seed $(SEED)) $(ARGS)

crash:
	@tools/setup.sh sim test
	@for action in $(CRASH); do $(VENV)/beamtime crash-test $$action || exit 1; done

screens:
	@tools/screens.sh

fuzz:
	@tools/setup.sh sim test
	@for protocol in ca pva; do PYTHONPATH=tests$${PYTHONPATH:+:$$PYTHONPATH} $(VENV)/python -m fuzz $$protocol \
		--seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) || exit 1; done

clean:
	rm -rf docs/_build build dist .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find ioc handlers sim tests tools benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
