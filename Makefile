# Everything that a newcomer needs; `make` alone lists it. Needs Python 3.11 or newer, git and make.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# Installs the tested versions from the locks. LOCK=no installs the newest that pyproject.toml allows.
LOCK ?= yes
LOCKS := $(addprefix locks/,build.txt runtime.txt development.txt)
# Their contents decide whether to install again, not their dates.
CONTENT := $(LOCK)-$(shell cat pyproject.toml $(LOCKS) 2> /dev/null | cksum | tr ' ' '-')
RUNTIME := $(VENV)/.runtime-$(CONTENT)
DEVELOPMENT := $(VENV)/.development-$(CONTENT)

# The Python for the environment; empty: the newest one that is found.
PYTHON ?=
# What `make mirror` mirrors, and from where. Empty: some small projects, from the index that pip or uv
# uses on this machine, else PyPI.
export PROJECTS ?=
export UPSTREAM ?=

# Hundreds of test processes import the same modules. With this variable, each would compile them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## List the targets
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | \
		while IFS='|' read -r name text; do printf '  %-13s %s\n' "$$name" "$$text"; done
	@echo "With PYTHON=/usr/bin/python3.12, the environment is built with that one."

.PHONY: mirror
mirror: $(RUNTIME) ## Mirror a few projects into ./mirror; also with UPSTREAM=URL PROJECTS="a b"
	@set -f; \
	if test -n "$$UPSTREAM$$PROJECTS" || test ! -e pypimirror.toml; then \
		told=$$($(BIN)/pypimirror init --force $${UPSTREAM:+--upstream "$$UPSTREAM"} \
			$${PROJECTS:-six idna iniconfig}) || exit; \
		printf '%s\n' "$$told" | sed '$$d'; \
	fi
	@$(BIN)/pypimirror sync --inline || { \
		code=$$?; \
		test $$code -ne 3 || echo 'make mirror: if that index cannot be reached from here, name one' \
			'that can: make mirror UPSTREAM=http://HOST/simple/ PROJECTS="six idna"' >&2; \
		exit $$code; \
	}

# The database of catalogs in tests: sqlite, postgresql, or both. With both, the tests that use the
# catalog most run twice.
CATALOG ?= both

# One more than the cores, since some tests wait for a server's next tick.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
# Thorough tests wait longer: for schedules, heartbeats and slow lines.
PATIENT ?= $(shell expr $(WORKERS) + 1)
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --catalog $(CATALOG)
# The folders with thorough tests: collecting all tests would take as long as running some of these.
THOROUGH = $$(grep -rlE 'thorough|sample\(' --include='test_*.py' tests) tests/e2e \
	$(addprefix tests/pipeline/,test_sync.py preview/test_plan.py publish/test_root.py)

.PHONY: test
test: $(DEVELOPMENT) ## Run the test suite
	@$(BIN)/python -m tests.corpus.fetch
	$(PYTEST) -m 'not thorough'

.PHONY: test-thorough
test-thorough: $(DEVELOPMENT) ## Run the cases that `make test` leaves out
	@$(BIN)/python -m tests.corpus.fetch
	@$(BIN)/python -m tests.tools
	$(PYTEST) -n $(PATIENT) -m thorough $(THOROUGH)
	@$(MAKE) --no-print-directory coverage

# Tests that reach much of the program in little time. Counting lines makes Python 3.11 take 1.7 times
# as long, so it is not done for all tests. CONTRIBUTING.md says more.
COVERED = $(addprefix tests/,bandersnatch check domain doctor/test_doctor.py metrics render/test_legacy.py \
	$(addprefix catalog/test_,asked.py days.py lease.py queries.py) \
	$(addprefix cli/test_,history_commands.py init_command.py plots.py show.py) \
	$(addprefix config/test_,installers.py settings.py) pipeline/asked pipeline/executors \
	$(addprefix select/locks/test_,others.py pylock.py real.py registry.py uv.py) \
	select/test_rules.py select/test_selection.py serve/pages serve/test_app.py status storage \
	$(addprefix upstream/test_,grouping.py html.py json.py links.py listing.py) \
	verify/test_structure.py verify/wheels)
# These take a third of the time, and reach hardly any lines that others do not reach.
LONG = any_json or looks_back or decides_nothing or choice_holds or is_what_is_read or any_company \
	or both_forms or any_markup or another_reader or what_an_upstream_answers

.PHONY: coverage
coverage: $(DEVELOPMENT) ## Count the lines that a part of the tests reaches; fail below a minimum
	@$(BIN)/python -m tests.corpus.fetch
	@mkdir -p .cache && rm -f .cache/coverage*
	COVERAGE_FILE=$(CURDIR)/.cache/coverage $(BIN)/python -m pytest -q -n $(WORKERS) \
		--dist loadscope -m 'not thorough' -k 'not ($(LONG))' \
		--cov --cov-report=term:skip-covered $(COVERED)

# In an environment of its own, made anew each time, because the newest versions change every day.
.PHONY: newest
newest: ## Run some tests with the newest versions that pyproject.toml allows
	@rm -rf .cache/newest && mkdir -p .cache
	@$(MAKE) --no-print-directory VENV=.cache/newest LOCK=no part

# The tests that a bad new version would break: imports, real clients, databases, a flow whose cron
# really gets scheduled runs.
.PHONY: part
part: $(DEVELOPMENT)
	@$(BIN)/python -m tests.corpus.fetch
	$(PYTEST) -m 'not thorough or newest' \
		$(addprefix tests/catalog/,mapping test_database.py test_lease.py test_queries.py) \
		tests/cli/test_commands.py tests/download/http/test_transport.py tests/e2e/test_install.py \
		tests/flows/test_deployments.py tests/serve/test_server.py tests/test_project.py

.PHONY: demo
demo: $(RUNTIME) ## Show the whole tour, with only pip's own index
	@$(BIN)/python -m tests.demo

.PHONY: bench
bench: $(DEVELOPMENT) ## Compare the speed of pypimirror and its peers; takes long
	@$(BIN)/python -m benchmarks --install

.PHONY: lint
lint: $(DEVELOPMENT) ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: types
types: $(DEVELOPMENT) ## Check types
	$(BIN)/mypy

.PHONY: docs
docs: $(RUNTIME) ## Write the pages that are generated from the code
	@$(BIN)/python -m docs.generate

.PHONY: picture
picture: $(DEVELOPMENT) ## Draw the picture in README again
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m docs.picture

.PHONY: screenshots
screenshots: $(DEVELOPMENT) ## Make the pictures of the pages again; needs chromium
	@$(BIN)/python -m tests.corpus.fetch
	@$(BIN)/python -m docs.screenshots

# For every platform, and every Python from the oldest supported one. The lock for development has all
# packages; the others are parts of the same resolution.
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate \
	--python-version 3.11 --custom-compile-command 'make lock'

.PHONY: lock
lock: $(DEVELOPMENT) ## Renew locks/ with the newest versions that pyproject.toml allows
	$(COMPILE) --upgrade pyproject.toml --extra postgresql --extra resolve --extra s3 --group test --group lint \
		--output-file locks/development.txt
	$(COMPILE) --upgrade pyproject.toml --extra postgresql --extra resolve --extra s3 \
		--constraint locks/development.txt --output-file locks/runtime.txt
	$(COMPILE) --upgrade --group build \
		--constraint locks/development.txt --output-file locks/build.txt

# The source of dependencies when the new wheel is tried: an index, or the packages installed here.
DEPENDENCIES ?= index

.PHONY: release
release: $(DEVELOPMENT) ## Check, build and tag the version that CHANGELOG.md names; push nothing
	@$(BIN)/python -m tests.corpus.fetch
	@$(BIN)/python .ci/release.py --dependencies $(DEPENDENCIES)

.PHONY: clean
clean: ## Remove built and fetched files, but not ./mirror and ./pypimirror.toml
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@for python in $(or $(PYTHON),python3.14 python3.13 python3.12 python3.11 python3 python); do \
		if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
			2> /dev/null; \
		then \
			echo "Building the environment $(VENV) with $$($$python --version)"; \
			exec $$python -m venv $(VENV); \
		fi; \
	done; \
	echo "make: there is no$(if $(PYTHON), usable) Python 3.11 or newer with its venv module$(if \
		$(PYTHON), at $(PYTHON)). On Debian:" >&2; \
	echo "  apt-get install python3 python3-venv" >&2; \
	echo "or name one: make PYTHON=/path/to/python3" >&2; \
	exit 1

# The locks are complete, so pip need not resolve, and Python compiles modules when it imports them:
# both together halve the time of an installation. The build backend of pypimirror is locked like the
# rest, so nothing fetches another one.
LOCKED = $(BIN)/python locks/install.py $(addprefix locks/,$(1))
EDITABLE = $(PIP) install -qq --no-deps --no-build-isolation --editable .
NEWEST = $(PIP) install -qq --upgrade --upgrade-strategy eager

# Dependency groups need a newer pip than older versions of Python bring.
INSTALL_yes = $(call LOCKED,$(1)) && $(EDITABLE)
INSTALL_no = $(NEWEST) 'pip>=25.1' && $(NEWEST) --editable . $(2)
INSTALL = began=$$(date +%s); \
	if $(call INSTALL_$(LOCK),$(1),$(2)); then \
		echo "Installed in $$(($$(date +%s) - began)) s"; \
	else \
		$(if $(filter yes,$(LOCK)),echo 'make: the index that pip uses has to have each file of' \
			'locks/ as it was tested; without them: make LOCK=no $(MAKECMDGOALS)' >&2;) \
		exit 1; \
	fi

$(RUNTIME): | $(BIN)/python
	@echo "Installing pypimirror and what it needs into $(VENV): about a minute, the first time"
	@$(call INSTALL,build.txt runtime.txt,)
	@rm -f $(VENV)/.runtime-* && touch $@

$(DEVELOPMENT): $(RUNTIME)
	@echo "Installing what the tests and checks need into $(VENV): about a minute, the first time"
	@$(call INSTALL,development.txt,--group test --group lint)
	@rm -f $(VENV)/.development-* && touch $@
