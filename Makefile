# The main commands; each sets up what it needs, and does that only once.
PYTHON ?= python3
VENV := .venv/bin
LAB_ARGS ?=
TEST_ARGS ?=
BENCH_ARGS ?=
ONLY ?=
SEED ?=

.PHONY: lab test bench soak lint docs clean python
.DEFAULT_GOAL := lab

lab: python
	@$(PYTHON) tools/environment.py lab
	@exec $(VENV)/pacskit lab $(LAB_ARGS)

test: python
	@$(PYTHON) tools/environment.py test && $(PYTHON) tools/peers.py && $(PYTHON) tools/axe.py
	@$(VENV)/python tools/checks.py test $(TEST_ARGS)

bench: python
	@$(PYTHON) tools/environment.py bench && $(PYTHON) tools/peers.py
	@$(VENV)/python -m bench $(if $(ONLY),--only $(ONLY)) $(BENCH_ARGS)

soak: python
	@$(PYTHON) tools/environment.py test && $(PYTHON) tools/peers.py
	@$(VENV)/python tools/checks.py soak $(SEED)

lint: python
	@$(PYTHON) tools/environment.py test
	@$(VENV)/python tools/checks.py lint

docs: python
	@$(PYTHON) tools/environment.py test
	@$(VENV)/python tools/checks.py docs

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis artifacts bench/work bench/results.json dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
	  echo "$(PYTHON) is not there: install Python 3.11 or newer, or name yours: make PYTHON=python3.12 ..." >&2; exit 1; }
