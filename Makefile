# Two commands matter: `make run` (the main job) and `make test` (the whole check).
PYTHON ?= python3
PY := .venv/bin/python
DATA ?=
OUT ?= out
ARGS ?=

.PHONY: setup run test test-slow lint types layers unit format lock clean
setup: .venv/ready

# Hashes lock everything but torch: its build differs by machine (CPU, CUDA, ARM), so it is pinned by version.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --only-binary :all: --require-hashes --no-deps -r requirements.lock
	$(PY) -m pip install --quiet --only-binary :all: torch==2.13.0
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

run: setup
	@if [ -z "$(DATA)" ]; then .venv/bin/aisle demo $(OUT)/demo --if-missing && .venv/bin/aisle run $(OUT)/demo --out $(OUT)/result $(ARGS); \
	else .venv/bin/aisle run "$(DATA)" --out $(OUT)/result $(ARGS); fi

test: setup lint types layers unit

lint: setup
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
types: setup
	.venv/bin/mypy
layers: setup
	.venv/bin/lint-imports
# Two workers with a thread each: threads of both would wait for one another.
unit: setup
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2
test-slow: setup
	$(PY) -m pytest -m slow
format: setup
	.venv/bin/ruff format . && .venv/bin/ruff check --fix .
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url requirements/dev.in -o requirements.lock
clean:
	rm -rf .venv out
