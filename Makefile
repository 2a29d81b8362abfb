# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.
# Each sets up .venv by itself; nothing else is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --log $(VENV)/pip.log
# Versions that pass the tests; `make constraints` writes them again.
CONSTRAINTS := constraints.txt
# Any build will do; a CPU build spares gigabytes of CUDA.
TORCH ?= torch==2.13.0

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup demo test test-slow test-pinned test-pythons test-all test-latest test-lowest \
	audit constraints lint format docs site bench fuzz clean

# Of pip's output: a line for each package, and errors. The rest is in pip.log.
PACKAGES := 2>&1 | sed -un 's/^Collecting \([^ ]*\).*/    \1/p; s/^Installing col.*/    installing/p; /^ERROR/p'

help:  ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: $(READY)  ## make .venv with everything that the targets below need

$(READY): pyproject.toml $(CONSTRAINTS)
	@echo "setting up $(VENV): 400 MB to download, 1.7 GB on the disk; 2 to 10 minutes, this once"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "  1 of 2: $(TORCH)"
	@$(PIP) install $(CONSTRAINTS:%=-c %) $(TORCH) $(PACKAGES)
	@echo "  2 of 2: vacc-gen, with what export and the tests need"
	@$(PIP) install $(CONSTRAINTS:%=-c %) -e '.[export,cluster,serve,dev,docs]' $(PACKAGES)
	@touch $@

demo: $(READY)  ## new, validate, build and run on a real trained checkpoint
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash docs/demo.sh demo

test: $(READY)  ## the default tests
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-slow: $(READY)  ## the tests that take minutes or gigabytes
	@$(BIN)/python -m pytest -q -m slow

test-pinned: $(READY)  ## modeling file and graphs in the compiler's environment (needs Python 3.10)
	@VACC_GEN_PYTHON=$(BIN)/python bash tests/pinned/run.sh

test-pythons:  ## the core's tests in Python 3.10 and 3.13, where they are at hand
	@bash tests/pythons.sh

test-all: test test-slow test-pinned test-pythons test-lowest fuzz  ## every test there is, one target after the other

test-latest:  ## the default tests with the newest packages (but torch), in .venv-latest
	@rm -rf .venv-latest
	@$(MAKE) --no-print-directory test VENV=.venv-latest CONSTRAINTS=

# A torch as old as the lowest bound comes with gigabytes of CUDA: this one keeps its version.
test-lowest: $(READY)  ## the default tests with the oldest packages that are allowed (but torch)
	@rm -rf .venv-lowest
	@echo "setting up .venv-lowest"
	@$(PYTHON) -m venv .venv-lowest
	@.venv-lowest/bin/python -m pip install --quiet -c constraints.txt $(TORCH)
	@$(BIN)/uv pip install --python .venv-lowest/bin/python --resolution lowest-direct \
		-c <(grep '^torch==' constraints.txt) -e '.[export,cluster,serve,dev]'
	@.venv-lowest/bin/python -m pytest -q -n 2 --dist loadfile

audit:  ## known vulnerabilities of what constraints.txt names, where an index tells them
	@bash tests/audit.sh

# One file for Python 3.10 to 3.13 on Linux and macOS. CUDA's packages are left out: torch names
# their versions itself. What still fits stays; UPGRADE=1 takes the newest of everything.
constraints: $(READY)  ## write constraints.txt again (UPGRADE=1: with the newest versions)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-python-downloads \
		--all-extras --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
		$(if $(UPGRADE),--upgrade) -o constraints.txt pyproject.toml
	@sed -i -E "/^(cuda|nvidia|triton)|== '(emscripten|win32)'/d; \
		s/ (;|and) (sys_|\()?(platform|implementation).*//; s/== '3.11.\*'/>= '3.11'/" constraints.txt

lint: $(READY)  ## ruff, mypy, the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

format: $(READY)  ## let ruff write
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

docs: $(READY)  ## write the pages and JSON Schemas that are made from the code, then the site
	@$(BIN)/python -m docs.reference_pages
	@$(BIN)/python -m typer vacc_gen.generator.cli.app utils docs --name vacc-gen --output docs/reference/cli.md
	@$(MAKE) --no-print-directory site

site: $(READY)  ## the pages as a site, in site/; checks every link
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

fuzz: $(READY)  ## other examples for the property tests, then bytes at validate (FUZZ_SECONDS=60)
	@HYPOTHESIS_PROFILE=exploring $(BIN)/python -m pytest -q -m hypothesis
	@$(PIP) install --quiet $(CONSTRAINTS:%=-c %) atheris
	@mkdir -p .fuzz
	@$(BIN)/python tests/fuzz/fuzz_validate.py -max_total_time=$(or $(FUZZ_SECONDS),60) -timeout=10 \
		-rss_limit_mb=2048 -max_len=8192 -artifact_prefix=.fuzz/ .fuzz tests/data/vamc

bench: $(READY)  ## the quick benchmarks, as ratios; docs/explanation/performance.md names two long ones
	@for benchmark in startup mutations export quantize serve; do \
		echo "== $$benchmark"; $(BIN)/python benchmarks/$$benchmark.py || exit 1; done

clean:  ## remove what the targets made
	rm -rf .venv .venv-* .fuzz demo dist site .mypy_cache \
		.pytest_cache .ruff_cache .hypothesis .import_linter_cache
