# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
PORT ?= 8000
DEMO_DATA ?= .petool/demo
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: demo serve test check format bench-retrieval bench-personalization bench-extraction bench-service clean

demo: $(INSTALLED)  ## show personalized tool calls, then serve the demo on PORT
	$(BIN)/petool demo --port $(PORT) --data-dir $(DEMO_DATA)

serve: $(INSTALLED)  ## serve as configured by the environment and .env
	$(BIN)/petool serve

test: $(INSTALLED)  ## all tests
	$(BIN)/python -m pytest

check: $(INSTALLED)  ## format, lint, types, layering
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-retrieval: $(INSTALLED)  ## retrieval quality on real queries; index speed and recall by size
	$(BIN)/python -m tests.bench.retrieval
	$(BIN)/python -m tests.bench.index

bench-personalization: $(INSTALLED)  ## how often the demo users get what they would want
	$(BIN)/python -m tests.bench.personalization

bench-extraction: $(INSTALLED)  ## parameters read from instructions without a model
	$(BIN)/python -m tests.bench.extraction

bench-service: $(INSTALLED)  ## requests per second, latency, time by stage
	$(BIN)/python -m tests.bench.service

clean:
	rm -rf .venv build *.egg-info

# pip is told again only when the dependencies change.
$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off --editable '.[dev]'
	touch $(INSTALLED)
