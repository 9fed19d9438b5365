# make demo    trains a recommender, tunes an LLM on a small budget and recommends items for typed titles, in a few minutes
# make repro   the whole pipeline, from raw data to the table of results; run again, only what changed
# make test    all tests
# make check   lint, format and types
# make lock    requirements.lock from pyproject.toml; with the newest versions: make lock UPGRADE=--upgrade
#
# Each target creates the environment (.venv) if necessary. With another interpreter: make repro PYTHON=python3.12
# Tests run in two processes. With another number: make test JOBS=8

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := 2.13.0
UPGRADE ?=
JOBS ?= 2
# Packages are installed without being compiled, which halves the set-up's time, so Python has to keep what it compiles on import.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo repro repository test check lock
help:
	@sed -n '/^# make/s/^# //p' Makefile

# Stages run as `python -m pipeline.<stage>`, so the environment is first on PATH. The shell expands the name of the folder, since make
# cannot quote spaces and parentheses.
demo: $(STAMP) repository
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/python -m pipeline.demo

repro: $(STAMP) repository
	@PATH="$$PWD/$(BIN):$$PATH" $(BIN)/python -m pipeline.repro

# DVC and DVCLive need a Git repository with a commit, which is created for an unpacked archive. Other problems, such as a repository
# of another owner, are reported by Git.
repository:
	@command -v git > /dev/null || { echo "git is needed (DVC builds on it) but was not found: install it and run make again."; exit 1; }
	@said=$$(LC_ALL=C git rev-parse --git-dir 2>&1) || case "$$said" in \
		*"not a git repository (or any"*) \
			echo "This is no Git repository, which DVC needs: making one."; git init --quiet && git add --all && \
			git -c user.name=llara-dvc -c user.email=llara-dvc@localhost commit --quiet --message "Unpacked archive";; \
		*) echo "$$said"; exit 1;; esac
	@git rev-parse --verify --quiet HEAD > /dev/null || { \
		echo "This Git repository has no commit yet, which DVC needs: git add --all && git commit, then make again."; exit 1; }

# One thread per process, since the models of the tests are tiny. The files keep the order of tests/conftest.py.
test: $(STAMP)
	PATH="$$PWD/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The lock names PyTorch without its build ("+cpu", "+cu130"), which depends on the index that pip uses.
lock: $(STAMP)
	CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet $(UPGRADE) --upgrade-package torch==$(TORCH) \
		--extra dev --extra chat --extra quantization --extra serve --strip-extras \
		--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file requirements.lock pyproject.toml
	sed 's/^\(torch==[0-9.]*\)+.*/\1/' requirements.lock > $(VENV)/requirements.lock
	mv $(VENV)/requirements.lock requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || { \
		echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2> /dev/null || echo missing)."; \
		echo "Name another one, for example: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile --requirement requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --editable .
	@touch $@
