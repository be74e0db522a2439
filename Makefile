# Two commands: make demo, make test. Both create .venv here and install into it what they need;
# make docs has .venv-docs, so that what the documentation needs is known, and not there by chance.

PYTHON ?= python3
VENV := .venv
DOCS_VENV := .venv-docs
BIN := $(VENV)/bin
PIP := -m pip --disable-pip-version-check
PYARPES := arpes==3.0.1

SEED ?= $(shell date +%s)
EXAMPLES ?= 2000

.PHONY: demo test test-slow fuzz lint docs benchmarks data-named clean

demo: $(VENV)/installed-demo
	$(BIN)/arpes-ml demo

# One thread per test process: two processes of several threads each wait for one another most of
# the time (measured on two cores: six times as long).
test test-slow fuzz: export OMP_NUM_THREADS ?= 1

# Without those that take more than a few seconds each: make test-slow.
# Files in their own order: the examples of docstrings come last, which are short, so that no
# process waits for another.
test: $(VENV)/installed-test
	$(BIN)/python -m pytest -m "not slow" --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-slow: $(VENV)/installed-test
	$(BIN)/python -m pytest -m slow --numprocesses auto --maxprocesses 4

# Tests marked fuzz, each with EXAMPLES inputs of its own making (make test has 25): about ten
# minutes. A run is repeated with make fuzz SEED=..., the number that it prints first.
fuzz: seed := $(SEED)
fuzz: $(VENV)/installed-test
	@echo "make fuzz SEED=$(seed) EXAMPLES=$(EXAMPLES)"
	FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -m fuzz --hypothesis-profile=fuzz --hypothesis-seed=$(seed) --numprocesses auto --maxprocesses 4

lint: $(VENV)/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(DOCS_VENV)/installed-docs
	$(DOCS_VENV)/bin/python -m sphinx -W --keep-going -b html docs docs/_build/html

# Every number of the documentation. Those about separation need the public simulations of
# Cassiopeia A: the folder that holds cassiopeia_xray.npz.
benchmarks: data-named $(VENV)/installed-bench
	$(BIN)/python benchmarks/denoising.py
	$(BIN)/python benchmarks/detectors.py
	$(BIN)/python benchmarks/posterior.py
	$(BIN)/python benchmarks/sparse_noise.py
	$(BIN)/python benchmarks/differences.py
	$(BIN)/python benchmarks/noise_estimates.py
	$(BIN)/python benchmarks/noise_curves.py
	$(BIN)/python benchmarks/normalised.py
	$(BIN)/python benchmarks/line_constants.py
	$(BIN)/python benchmarks/cut_off.py
	$(BIN)/python benchmarks/sparse_counts.py
	$(BIN)/python benchmarks/continuation.py
	$(BIN)/python benchmarks/energy_shifts.py
	$(BIN)/python benchmarks/few_counts.py
	$(BIN)/python benchmarks/saturation.py
	$(BIN)/python benchmarks/count_noise.py
	$(BIN)/python benchmarks/replicas.py
	$(BIN)/python benchmarks/feasible_bands.py
	$(BIN)/python benchmarks/separation_bars.py
	$(BIN)/python benchmarks/parallel.py
	$(BIN)/python benchmarks/without_torch.py
	test "$(DATA)" = none || $(BIN)/python benchmarks/separation.py --data "$(DATA)"

data-named:
	@test -n "$(DATA)" || { echo 'make benchmarks DATA=FOLDER, where FOLDER holds cassiopeia_xray.npz; or DATA=none, without the numbers about separation' >&2; exit 2; }

clean:
	rm -rf $(VENV) $(DOCS_VENV) demo-output docs/_build docs/auto_examples

$(VENV)/bin/python $(DOCS_VENV)/bin/python: %/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed; choose one with: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $*

# PyARPES 3.0.1 says that it needs Python 3.8; it runs on 3.11 and later with the packages of the
# "pyarpes" extra, so its own word is overridden.
$(VENV)/installed-demo $(DOCS_VENV)/installed-demo: %/installed-demo: %/bin/python pyproject.toml constraints.txt
	$*/bin/python $(PIP) install --quiet --constraint constraints.txt --editable '.[pyarpes]'
	$*/bin/python $(PIP) install --quiet --ignore-requires-python --no-deps $(PYARPES)
	touch $@

$(VENV)/installed-test $(VENV)/installed-lint $(VENV)/installed-bench: $(VENV)/installed-%: $(VENV)/installed-demo
	$(BIN)/python $(PIP) install --quiet --constraint constraints.txt --editable '.[$*]'
	touch $@

$(DOCS_VENV)/installed-docs: $(DOCS_VENV)/installed-demo
	$(DOCS_VENV)/bin/python $(PIP) install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@
