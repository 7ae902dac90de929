# One folder for the virtual environment; `make test VENV=/elsewhere` uses another.
VENV ?= .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.stamp

.DEFAULT_GOAL := help
.PHONY: help setup data demo zoos test test-slow test-ray lint bench

help: ## list these targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | \
		awk -F'|' '{ printf "make %-10s %s\n", $$1, $$2 }'

setup: $(STAMP) ## make the virtual environment and install everything into it

# Only what decides the installed packages makes it again; the code itself is installed in place.
$(STAMP): pyproject.toml constraints.txt scripts/setup.sh
	@bash scripts/setup.sh "$(VENV)"
	@touch $@

data: ## install the packages with Fashion-MNIST and the text (Debian and Ubuntu, as root)
	@bash scripts/data.sh

demo: setup ## train, measure, draw and score a small zoo; leaves it under demo/
	$(VENV)/bin/phasezoo demo --out demo

ZOOS := digits-mlp modadd-mlp convection-pinn-small mnist1d-mlp digits-subsets digits-richlazy kjv-gpt \
	fashion-cnn fashion-subsets fashion-forks fashion-resnet fashion-tempbalance

zoos: setup ## train and measure the zoos that data within reach allow, and redraw docs/zoos.md; takes an hour
	for name in $(ZOOS); do \
		$(VENV)/bin/phasezoo generate $$name --out zoos/$$name && \
		$(VENV)/bin/phasezoo measure zoos/$$name || exit 1; \
	done
	$(PYTHON) scripts/zoos.py zoos

# The tests of one file stay in one process, which keeps what they share.
test: setup ## run the tests and doctests that take seconds, on all cores
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n auto --dist loadfile

# pytest exits with 5 where it finds no test, which make reports as the failure that it is.
test-slow: setup ## run the tests that take longer
	$(PYTHON) -m pytest -m "slow and not gpu and not ray and not network and not browser"

test-ray: setup ## run the tests that start a local Ray, which they install
	$(PYTHON) -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[ray]'
	$(PYTHON) -m pytest -m ray

lint: setup ## check format, style, types and the arrows between the packages
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: setup ## compare speed with plain loops and files; prints a Markdown table
	$(PYTHON) benchmarks/run.py
