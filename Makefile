# make demo      show what it does, on real input, offline
# make test      the tests that take seconds        make test-all   all of them
# make test-systemd  the units under a real systemd, in namespaces (needs root)
# make check     format, lint, types, layers        make bench      the figures of the README
# make soak      sixteen clients and a crash a minute, for MINUTES (30)
# make lock      renew the locks (needs uv)         make clean      remove what was made here
#
# Each installs what it needs into .venv, from the locks: by uv where it is there, else by pip.
# PYTHON chooses the interpreter; without it the newest of 3.11 to 3.14 is taken.

UV ?= $(shell command -v uv 2>/dev/null)
FIT := import sys$(if $(UV),,, ensurepip, venv); sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	$$python -c '$(FIT)' 2>/dev/null && echo $$python && break; done)

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --python-version 3.11 pyproject.toml

# uv trusts what the machine trusts, as pip does; the two names are of newer and older releases.
export UV_SYSTEM_CERTS := 1
export UV_NATIVE_TLS := 1

.PHONY: demo test test-all kills test-clients test-systemd soak check bench lock clean

demo: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" bash docs/demo.sh

test: $(READY)
	$(BIN)/python -m pytest -m "not slow"

# Real agents from npm, by name, into a cache outside of the tree; a scripted model, no login, no network.
CLIENTS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/rlmd-clients
AGENTS = node@24 @anthropic-ai/claude-code@2.1.331 @openai/codex@0.169.0 @modelcontextprotocol/sdk@1.32.2 \
	@modelcontextprotocol/inspector@2.12.0 @modelcontextprotocol/conformance@0.2.0-alpha.12

test-clients: $(READY)
	@if command -v npm >/dev/null && command -v node >/dev/null; then \
		mkdir -p "$(CLIENTS)" && npm install --silent --no-fund --no-audit --prefix "$(CLIENTS)" $(AGENTS) && \
		RLMD_CLIENTS="$(CLIENTS)" $(BIN)/python -m pytest tests/clients; \
	else echo "make test-clients: skipped, there is no node and npm here"; fi

test-all: $(READY)
	$(BIN)/python -m pytest

soak: $(READY)
	cd tests && PYTHONPATH=../daemon:. ../$(BIN)/python -m soak --minutes $(or $(MINUTES),30)

test-systemd: $(READY)
	$(BIN)/python -m pytest tests/systemd tests/e2e/test_systemd_units.py tests/e2e/test_under_a_manager.py

kills: $(READY)
	RLMD_KILLS=200 $(BIN)/python -m pytest tests/faults/test_memory_kill9.py -k time_and_again

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m benchmarks

lock:
	@test -n "$(UV)" || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	$(COMPILE) -o requirements.lock
	$(COMPILE) --extra dev -o requirements-dev.lock

clean:
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find daemon tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The package is laid in as a link to daemon/, so an edit needs no new installation.
$(READY): requirements-dev.lock pyproject.toml
	@$(or $(PYTHON),false) -c '$(FIT)' || { echo "rlmd needs Python 3.11 or newer$(if $(UV),, with venv and pip);" \
		"set PYTHON to one$(if $(PYTHON), ($(PYTHON) is not))" >&2; exit 1; }
ifneq ($(UV),)
	$(UV) venv --quiet --allow-existing --no-python-downloads --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements-dev.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
else
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endif
	@touch $@
