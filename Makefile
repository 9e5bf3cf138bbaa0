# Everything one does with a clone of kitbuild; docs/development.md says more. Needs Debian 12 or later.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

START := $(shell date +%s)
PYTHON ?= python3
BIN := .venv/bin
# Tests of minutes are for those who ask: KITBUILD_SLOW=1 make test.
BUT_SLOW := $(if $(filter 1,$(KITBUILD_SLOW)),, and not slow)
# Two: what CI has.
WORKERS ?= 2

# Tests that mostly wait for servers, browsers and shells of their own run side by side.
SIDE_BY_SIDE := $(wildcard $(addprefix tests/integration/,test_remote_*.py test_cache_server*.py test_ci_recipes.py \
    test_shared_cache_processes.py test_two_machines.py test_completion.py test_diff_command.py test_docs*.py \
    test_doctor.py test_graph_*.py test_help.py test_init.py test_lock.py test_reading*.py test_report_*.py \
    test_vendor.py test_watch.py test_why.py))

# Debian packages, by what needs them.
FOR_VENV := python3 python3-venv
FOR_DEMO := qemu-system-x86
# Other programs that the integration tests hold results against.
FOR_TESTS := apache2-utils cpio docker-registry git graphviz gzip kmod libarchive-tools mount openssl skopeo time zstd \
    binutils dosfstools e2fsprogs erofs-utils fdisk gdisk genisoimage mtools qemu-utils squashfs-tools u-boot-tools \
    xfsprogs xorriso ovmf qemu-efi-aarch64 qemu-system-arm bubblewrap nginx-light postgresql \
    bash-completion chromium chromium-driver fish fonts-dejavu-core groff man-db tmux zsh

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1 /p' Makefile | while read -r target what; do
	    printf 'make %-9s %s\n' "$$target" "$$what"
	done

.PHONY: demo
demo: demo-packages kit ## make the starter kit, build examples/minimal.yml, boot it in QEMU
	@export KITBUILD_CACHE_DIR=examples/out/cache
	mkdir -p examples/out
	line=$$($(BIN)/python -c "$$ONBOOT_LINE")
	$(BIN)/kitbuild build --dir examples/out examples/minimal.yml
	$(BIN)/python examples/kit/boot.py examples/out/minimal --marker "$$line" | tee examples/out/console.txt
	echo
	echo "its onboot container said: $$(grep --fixed-strings --max-count 1 -- "$$line" examples/out/console.txt)"
	echo "total: $$(($$(date +%s) - $(START))) s"

# What examples/minimal.yml makes its onboot container say; edited, the demo shows the new text.
define ONBOOT_LINE
import yaml
with open("examples/minimal.yml", encoding="utf-8") as config:
    print(yaml.safe_load(config)["onboot"][0]["command"][-1])
endef
export ONBOOT_LINE

.PHONY: check
check: venv ## format, lint, types, imports and the fast tests: before each commit
	@set -x
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python -m pytest -q -n $(WORKERS) tests/unit tests/contract

.PHONY: test
test: test-packages test-servers kit ## every test, whole builds and boots included (KITBUILD_SLOW=1: the slow ones too)
	@status=0
	set -x
	$(BIN)/python -m pytest -q -n $(WORKERS) tests/unit tests/contract || status=1
	$(BIN)/python -m pytest --durations 10 -m "not boot$(BUT_SLOW)" $(addprefix --ignore=,$(SIDE_BY_SIDE)) tests/integration || status=1
	$(BIN)/python -m pytest --durations 10 -n $(WORKERS) -m "not boot$(BUT_SLOW)" $(SIDE_BY_SIDE) || status=1
	$(BIN)/python -m pytest --durations 10 -n $(WORKERS) -m "boot$(BUT_SLOW)" tests/integration || status=1
	exit $$status

.PHONY: format
format: venv ## format the code and mend what ruff can mend
	@$(BIN)/ruff format
	$(BIN)/ruff check --fix

.PHONY: coverage
coverage: test-packages test-servers kit ## which lines and branches the tests reach
	@$(BIN)/python -m pytest -q -n $(WORKERS) -m "not nothing$(BUT_SLOW)" --cov --cov-report term-missing:skip-covered

.PHONY: docs
docs: venv ## the documentation as a site, in build/site
	@$(BIN)/python docs/site/make.py build/site
	echo "build/site/index.html"

.PHONY: bench
bench: venv kit ## the measurements of bench/
	@$(BIN)/python bench/run.py

.PHONY: clean
clean: ## remove all that make made
	@rm -rf .venv .tools kitbuild.egg-info build dist examples/out examples/kit/images examples/kit/.work
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: lock
lock: venv-packages ## ask for the newest versions and write them to requirements.lock
	@fresh=$$(mktemp -d)
	trap 'rm -rf "$$fresh"' EXIT
	$(PYTHON) -m venv "$$fresh"
	"$$fresh/bin/python" -m pip install --quiet --quiet --editable '.[dev]'
	{
	    grep '^#' requirements.lock
	    "$$fresh/bin/python" -m pip freeze --all --exclude-editable --exclude pip
	} >"$$fresh/lock"
	cp "$$fresh/lock" requirements.lock

# --- what the above need ---

.PHONY: kit
kit: venv
	@make_kit="$(BIN)/python examples/kit/make.py"
	if [ "$$(id -u)" != 0 ]; then
	    $$make_kit
	elif ! $$make_kit 2>/dev/null; then
	    # apt's lists may be absent, as in a fresh container, or older than the mirror.
	    apt-get update -q -q
	    $$make_kit
	fi

# Made again when what it was made from has changed: the folder too, for its scripts hold absolute paths.
.PHONY: venv
venv: venv-packages
	@if ! $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
	    echo "error: expected Python 3.11 or later, got $$($(PYTHON) --version)" >&2
	    echo "hint: name another: make PYTHON=python3.11" >&2
	    exit 1
	fi
	made_from=$$($(PYTHON) --version; pwd; sha256sum pyproject.toml requirements.lock)
	if [ "$$made_from" = "$$(cat .venv/made-from 2>/dev/null)" ]; then
	    exit
	fi
	echo "making .venv ..."
	rm -rf .venv
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --quiet --no-deps --no-build-isolation --editable .
	echo "$$made_from" >.venv/made-from

# Cache and execution servers, and a Bazel, that the integration tests talk to.
.PHONY: test-servers
test-servers: test-packages
	@PYTHON=$(PYTHON) .ci/servers

.PHONY: venv-packages demo-packages test-packages
venv-packages:
	@.ci/packages $(FOR_VENV)
demo-packages: venv-packages
	@.ci/packages $(FOR_DEMO)
test-packages: venv-packages
	@.ci/packages $(FOR_DEMO) $(FOR_TESTS)
