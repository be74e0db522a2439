# Two commands: make demo, make test. Both create .venv here and install into it what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYARPES := arpes==3.0.1

.PHONY: demo test lint docs benchmarks clean

demo: $(VENV)/installed-demo
	$(BIN)/arpes-ml demo

test: $(VENV)/installed-test
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/installed-lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/installed-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

benchmarks: $(VENV)/installed-bench
	$(BIN)/python benchmarks/denoising.py
	$(BIN)/python benchmarks/sparse_noise.py
	$(BIN)/python benchmarks/continuation.py
	test -z "$(DATA)" || $(BIN)/python benchmarks/separation.py --data $(DATA)

clean:
	rm -rf $(VENV) demo-output docs/_build

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed; choose one with: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

# PyARPES 3.0.1 says that it needs Python 3.8; it runs on 3.11 and later with the packages of the
# "pyarpes" extra, so its own word is overridden.
$(VENV)/installed-demo: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) install --quiet --constraint constraints.txt --editable '.[pyarpes]'
	$(PIP) install --quiet --ignore-requires-python --no-deps $(PYARPES)
	touch $@

$(VENV)/installed-test $(VENV)/installed-lint $(VENV)/installed-docs $(VENV)/installed-bench: $(VENV)/installed-%: $(VENV)/installed-demo
	$(PIP) install --quiet --constraint constraints.txt --editable '.[$*]'
	touch $@
