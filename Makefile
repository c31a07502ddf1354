# Every target sets up what it needs; a fresh machine needs Python 3.11 and make.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
UV_VERSION := 0.13.9
LOCK   := $(BIN)/uv pip compile --python-version 3.11 --universal --generate-hashes -q

export NUMBA_CACHE_DIR ?= $(CURDIR)/.build/numba

.PHONY: install demo test lint wheel bench soak conformance faults integration providers lock proto clean

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m compileall -q kernels registry gateway retrain
	$(BIN)/python -m kernels.jit
	touch $@

demo: install
	$(BIN)/tidegate demo $(ARGS)

test: install
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/mypy

wheel: install
	bash tests/e2e/wheel

bench: bench-serving

# What takes half an hour: everything that comes and goes, as often as its bars say.
soak: bench-reload

bench-%: install
	bash benchmarks/setup.sh
	$(BIN)/python -m benchmarks.$* $(ARGS)

conformance: install
	bash tests/conformance/run $(ARGS)

faults: install
	bash tests/faults/run $(ARGS)

integration: install
	bash tests/integration/run $(ARGS)

providers: install
	bash tests/providers/run $(ARGS)

# All of the project; of that, what serves; and what builds the wheel in the image.
lock:
	$(LOCK) pyproject.toml --extra dev --extra bench --no-emit-package tidegate -o requirements.lock
	$(LOCK) pyproject.toml --constraint requirements.lock -o requirements-runtime.lock
	sed -n 's/^requires = \["\(.*\)"\]$$/\1/p' pyproject.toml | $(LOCK) - -o deploy/docker/build.lock

proto: install
	$(BIN)/python proto/generate.py

clean:
	rm -rf $(VENV) .build dist
