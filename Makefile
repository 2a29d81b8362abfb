# Two commands do everything: `make demo` runs the main job, `make test` passes the tests.
# Each sets up .venv by itself; nothing else is touched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Any build will do; a CPU build spares gigabytes of CUDA.
TORCH ?= torch==2.13.0

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow test-pinned lint format docs bench fuzz clean

help:  ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' Makefile

setup: $(READY)  ## make .venv with everything that the targets below need

$(READY): pyproject.toml
	@echo "setting up $(VENV) (a few minutes the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[export,dev]'
	@touch $(READY)

demo: $(READY)  ## new, validate, build and run on a real trained checkpoint
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash docs/demo.sh demo

test: $(READY)  ## the default tests
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-slow: $(READY)  ## the tests that take minutes or gigabytes
	@$(BIN)/python -m pytest -q -m slow

test-pinned: $(READY)  ## the modeling file in the compiler's own environment (needs python3.10)
	@bash tests/pinned/run.sh

lint: $(READY)  ## ruff, mypy, the import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports

format: $(READY)  ## let ruff write
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

docs: $(READY)  ## write docs/cli.md, docs/rules.md and the JSON Schemas again
	@$(BIN)/python -m vacc_gen.schema.json_schema
	@$(BIN)/python -m vacc_gen.schema.lint.rules_page
	@$(BIN)/python -m vacc_gen.generator.cli.reference > docs/cli.md

fuzz: $(READY)  ## other examples for the property tests, then bytes at validate (FUZZ_SECONDS=60)
	@HYPOTHESIS_PROFILE=exploring $(BIN)/python -m pytest -q -m 'hypothesis and not pinned'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	@mkdir -p .fuzz
	@$(BIN)/python tests/fuzz/fuzz_validate.py -max_total_time=$(or $(FUZZ_SECONDS),60) -timeout=10 \
		-rss_limit_mb=2048 -max_len=8192 -artifact_prefix=.fuzz/ .fuzz tests/data/vamc

bench: $(READY)  ## the benchmarks, as ratios against a peer or a limit
	@for benchmark in startup validate mutations export quantize; do \
		echo "== $$benchmark"; $(BIN)/python benchmarks/$$benchmark.py || exit 1; done

clean:  ## remove what the targets made
	rm -rf $(VENV) .venv-pinned .fuzz demo dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
