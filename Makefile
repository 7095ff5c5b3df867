PYTHON ?= python
# Spinning OpenMP threads on a busy machine make a training step 6 to 12 times slower.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
# Processes of `make test`, of one thread and about 1 GB each.
WORKERS ?= 2

.PHONY: format lint type docs test test-slow test-gpu check

format:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

lint:
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

type:
	$(PYTHON) -m pyright --pythonpath "$$($(PYTHON) -c 'import sys; print(sys.executable)')"

docs:
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet

test:
	$(PYTHON) -m pytest -n $(WORKERS) --dist worksteal

test-slow:
	$(PYTHON) -m pytest -m "slow and not gpu"

test-gpu:
	$(PYTHON) -m pytest -m gpu

check: lint type docs test
