# The first call makes .venv; everything runs from it.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
ENGINE := .venv/.engine

.DEFAULT_GOAL := help
.PHONY: help demo test prove prove-exllamav2 chaos prometheus check fix audit bench gpu-check gpu-bench screenshots clean

help: ## these lines
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 17

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

$(ENGINE): $(STAMP) # torch: large, and only the tests of one engine need it
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[exllamav2]'
	touch $@

demo: $(STAMP) ## a whole local world in the terminal: no GPU, no keys, no network
	@$(BIN)/mtok demo

test: $(ENGINE) ## every test, in its short form
	$(BIN)/pytest --numprocesses 4 --dist loadgroup

# what draws examples takes every core; what kills processes, and counts seconds, has the machine for itself
PROPERTIES := tests/store/test_properties.py tests/console/test_reconcile.py tests/test_settings_fuzz.py \
  tests/agent/test_untrusted.py tests/console/test_said_by_others.py tests/agent/engine/test_exllamav2_properties.py
PROCESSES := tests/console/providers/test_vast_sdk.py tests/console/collector/test_crashes.py tests/chaos/test_leaders.py \
  tests/console/tui/test_over_ssh.py tests/console/tui/test_interrupted.py tests/agent/test_storm.py \
  tests/agent/test_crash.py tests/agent/test_openapi.py tests/agent/test_locust.py tests/agent/engine/test_oracle.py \
  tests/test_wheel.py tests/console/hosts/test_install.py
PROVING := MTOK_VAST_SDK=.venv-vast/bin/python MTOK_HYPOTHESIS=prove MTOK_PROVE=1 $(BIN)/pytest -rP --durations=0 --durations-min=1

prove: $(ENGINE) prove-exllamav2 ## the long suites: 10,000 examples a property and requests of schemathesis, Locust, transformers
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[prove]'
	test -x .venv-vast/bin/python || $(PYTHON) -m venv .venv-vast
	.venv-vast/bin/pip install --quiet --disable-pip-version-check vastai==1.9.1
	$(PROVING) --numprocesses auto --dist worksteal $(PROPERTIES)
	$(PROVING) $(PROCESSES)

prove-exllamav2: $(STAMP) ## a part of prove: ExLlamaV2's tests over its own extension, compiled with nvcc; ten minutes
	$(BIN)/python -m tests.gpu.extension

chaos: $(STAMP) ## break a fleet of real processes in every way, and print what it cost
	$(BIN)/python -m tests.chaos.suite
	$(BIN)/python -m tests.chaos.minutes

prometheus: $(STAMP) ## a real Prometheus on the demo: its differences against mtok explain, and its alerts; eight minutes
	$(BIN)/python -m tests.prometheus.demo

check: $(STAMP) ## format, lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(STAMP) ## format, and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

audit: $(STAMP) ## known weaknesses of the pinned dependencies, where the network allows it
	@$(BIN)/python -m tests.audit

bench: $(STAMP) ## speed, as ratios within one run
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/pytest tests/bench -s --override-ini "norecursedirs=.*"

gpu-check: $(ENGINE) ## on a GPU: the kernels compute what numpy does, and a full memory is recovered from
	@$(BIN)/python -m tests.gpu.check

gpu-bench: $(ENGINE) ## on a GPU: tokens a second, ours beside the library alone, and the cost that they imply
	@$(BIN)/python -m tests.gpu.bench

screenshots: $(STAMP) ## screenshots/ from the running demo
	$(BIN)/python -m tests.screenshots

clean: ## forget the environment and every cache
	rm -rf .venv .venv-vast .venv-peers .venv-audit dist build *.egg-info .mypy_cache .ruff_cache .pytest_cache
	rm -rf .hypothesis .import_linter_cache
