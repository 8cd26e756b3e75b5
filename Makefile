# Every verb a developer types. Each sets up what it needs, from Python >= 3.10, make and the package registries.
#
#   make demo             opens the first notebook in JupyterLab; HEADLESS=1 executes it there and leaves pictures in build/
#   make test             everything a change must pass: check, unit, TypeScript, browser
#   make check            lint, types, layers
#   make unit             the quick Python tests (ARGS="-k name" picks some)
#   make trials           the long runs that every change must pass: all small graphs, failing and cancelled graphs, notebooks
#   make browser          the tests in a real JupyterLab in Chromium
#   make test-all         the long ones too
#   make night            one trial for a while: TRIAL=A3 SECONDS=600 (goes on where it was; without TRIAL lists them)
#   make bench            tables against rivals
#   make js               the front end; make js-test its tests
#   make notebooks        executes every notebook
#   make docs             what is generated from the code
#   make pictures         the pictures of README and docs, from real screens (ARGS="flights" makes some)
#   make looks            keeps what the screens look like now, where that changed, for the tests to compare with
#   make dist             wheel and sdist into dist/
#   make clean            removes what was made, but not .venv; make distclean removes that too

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMPS := $(VENV)/.stamps
KERNELS := 7.3.0 6.31.0
# Long runs of every change; what takes minutes by itself waits for `make test-all`.
TRIALS := $(patsubst %,tests/trials/test_%.py,a_batch b_driver b_shapes g_rest h_security)
JOBS ?= 2
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test check lint types layers unit trials browser slow test-all night js js-check js-test bench notebooks docs pictures looks hosts dist format clean distclean

help:
	@sed -n 's/^#   //p' Makefile

# --- set-up: a stamp each, so that a second run costs nothing ------------------------------------------------

$(STAMPS)/dev: pyproject.toml hatch_build.py tools/venv.py
	$(PYTHON) tools/venv.py $(VENV)
	$(PY) tools/venv.py --install $(VENV) -e ".[dev]"
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/browser: $(STAMPS)/dev tools/browser.py
	$(PY) -m tools.browser install
	@touch $@

# Hosts beside JupyterLab, each in an environment of its own.
$(STAMPS)/hosts: $(STAMPS)/dev tools/voila.py tools/vscode.py
	$(PY) -m tools.voila
	$(PY) -m tools.vscode
	@touch $@

$(STAMPS)/kernels: $(STAMPS)/dev tools/kernels.py
	$(PY) -m tools.kernels $(KERNELS)
	@touch $@

# TileDB's own client needs older libraries than ours, so it gets an environment of its own.
$(STAMPS)/official: $(STAMPS)/dev
	$(PYTHON) tools/venv.py .venvs/bench
	.venvs/bench/bin/python tools/venv.py --install .venvs/bench "tiledb-cloud>=0.14,<0.15" psutil
	@touch $@

setup: $(STAMPS)/dev js

# --- the front end -------------------------------------------------------------------------------------------

js: $(STAMPS)/dev
	@$(PY) tools/frontend.py build

js-check: js
	$(PY) tools/frontend.py check

js-test: js
	$(PY) tools/frontend.py test

# --- the demo ------------------------------------------------------------------------------------------------

NOTEBOOK ?= notebooks/01_first_graph.ipynb

ifdef HEADLESS
demo: js $(STAMPS)/browser
	$(PY) -m tools.demo --headless $(NOTEBOOK)
else
demo: js
	$(PY) -m tools.demo $(NOTEBOOK)
endif

# --- checks and tests ----------------------------------------------------------------------------------------

lint: $(STAMPS)/dev
	$(VENV)/bin/ruff check .

types: $(STAMPS)/dev
	$(VENV)/bin/mypy

layers: $(STAMPS)/dev
	$(PY) -m pytest -q tests/test_layers.py

check: lint types layers js-check

unit: js
	$(PY) -m pytest -n $(JOBS) -m "not slow and not browser" $(ARGS)

trials: js
	$(PY) -m pytest -n $(JOBS) -m "slow and not long and not browser" tests/core $(TRIALS) tests/test_notebooks.py $(ARGS)

slow: js $(STAMPS)/official
	TILEDAG_OFFICIAL_PYTHON=$${TILEDAG_OFFICIAL_PYTHON:-$(CURDIR)/.venvs/bench/bin/python} $(PY) -m pytest -n $(JOBS) -m "slow and not browser" $(ARGS)

browser: js $(STAMPS)/browser $(STAMPS)/kernels
	$(PY) -m pytest -n $(JOBS) -m "browser and not slow" tests/browser $(ARGS)

# One after another, also under `make -j`: two cores are all there is.
test:
	$(MAKE) check
	$(MAKE) js-test
	$(MAKE) unit
	$(MAKE) trials
	$(MAKE) browser

hosts: $(STAMPS)/hosts

test-all: test $(STAMPS)/hosts
	TILEDAG_RUNS=10000 $(PY) tools/frontend.py test
	$(MAKE) slow
	$(PY) -m pytest -n $(JOBS) -m "browser and slow" tests/browser $(ARGS)

TRIAL ?=
SECONDS ?= 60

night: js
	$(PY) -m tools.night $(TRIAL) --seconds $(SECONDS)

# --- the rest ------------------------------------------------------------------------------------------------

# Beside what is ours; without one of them the table has a gap.
$(STAMPS)/rival: $(STAMPS)/dev
	-$(MAKE) $(STAMPS)/official
	-$(PY) tools/venv.py --install $(VENV) --target .venvs/rivals/site --no-deps tiledb-plot-widget ipycytoscape spectate
	@touch $@

bench: js $(STAMPS)/rival $(STAMPS)/browser
	$(PY) -m benchmarks $(ARGS)

notebooks: js
	$(PY) -m tools.notebooks notebooks

docs: $(STAMPS)/dev
	$(PY) js/make_protocol.py
	$(PY) -m tests.docs_tables

pictures: js $(STAMPS)/browser
	$(PY) -m tools.pictures $(ARGS)

looks: js $(STAMPS)/browser
	TILEDAG_RENEW_LOOKS=1 $(PY) -m pytest -q -m browser tests/browser/test_screens.py \
		tests/browser/test_log_browser.py -k "screen or static or export or list_of_runs" $(ARGS)

dist: $(STAMPS)/dev
	rm -rf dist
	$(PY) tools/venv.py --install $(VENV) build
	$(PY) -m build

format: $(STAMPS)/dev
	$(VENV)/bin/ruff check --fix --select I .

clean:
	rm -rf build dist .hypothesis .mypy_cache .ruff_cache .coverage .coverage.* tiledag_widget/static
	find . -name __pycache__ -not -path './.venv*' -not -path './js/node_modules/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) .venvs js/node_modules
