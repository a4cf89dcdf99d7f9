# Everything a newcomer needs; `make` alone lists it. Needs Python 3.11 or newer, git and make.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# What is installed is what was tested: the locks. LOCK=no takes the newest that pyproject.toml
# allows instead.
LOCK ?= yes
LOCKS := $(addprefix locks/,build.txt runtime.txt development.txt)
# Installed is what these files say now, whatever their dates are.
CONTENT := $(LOCK)-$(shell cat pyproject.toml $(LOCKS) 2> /dev/null | cksum | tr ' ' '-')
RUNTIME := $(VENV)/.runtime-$(CONTENT)
DEVELOPMENT := $(VENV)/.development-$(CONTENT)

# The Python to build the environment with; empty: the newest that is found.
PYTHON ?=
# What `make mirror` mirrors, and from where; empty: some small projects, from the index that pip or
# uv is configured with here, else PyPI.
export PROJECTS ?=
export UPSTREAM ?=

# Hundreds of processes of the tests import the same modules: with this, each would compile them.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## List what there is to make
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

# Where mirrors under test keep their catalogs: sqlite, postgresql, or both, which runs twice what
# touches the catalog most.
CATALOG ?= both

# One more than there are cores, since some tests wait for a server's next tick.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --catalog $(CATALOG)
# Where a test may be thorough: reading all of them takes as long as some of these.
THOROUGH = $$(grep -rlE 'thorough|sample\(' --include='test_*.py' tests) tests/e2e \
	$(addprefix tests/pipeline/,test_sync.py preview/test_plan.py publish/test_root.py)

.PHONY: test
test: $(DEVELOPMENT) ## Run the test suite
	@$(BIN)/python -m tests.corpus.fetch
	$(PYTEST) -m 'not thorough'

.PHONY: test-thorough
test-thorough: $(DEVELOPMENT) ## Run what it leaves out: more cases of the same
	@$(BIN)/python -m tests.corpus.fetch
	@$(BIN)/python -m tests.tools
	$(PYTEST) -m thorough $(THOROUGH)
	@$(MAKE) --no-print-directory coverage

# Tests that reach much of the program in little time. Python 3.11 takes 1.7 times as long where lines
# are counted, so it is not done for all tests. CONTRIBUTING.md tells more.
COVERED = $(addprefix tests/,bandersnatch catalog/test_lease.py catalog/test_queries.py \
	cli/test_show.py config/test_settings.py doctor/test_doctor.py domain/test_filenames.py metrics \
	pipeline/publish/test_withdraw.py pipeline/test_selection_changes.py render/test_legacy.py \
	select/test_rules.py select/test_selection.py serve/test_app.py storage \
	$(addprefix upstream/test_,grouping.py html.py json.py links.py listing.py) \
	verify/test_structure.py verify/wheels)
# A quarter of the time goes into these, which reach no more lines than others.
LONG = any_json or looks_back or decides_nothing or choice_holds or is_what_is_read or any_company

.PHONY: coverage
coverage: $(DEVELOPMENT) ## Count the lines that a part of the tests reaches; fails below a floor
	@$(BIN)/python -m tests.corpus.fetch
	@mkdir -p .cache && rm -f .cache/coverage*
	COVERAGE_FILE=$(CURDIR)/.cache/coverage $(BIN)/python -m pytest -q -n $(WORKERS) \
		--dist loadscope -m 'not thorough' -k 'not ($(LONG))' \
		--cov --cov-report=term:skip-covered $(COVERED)

# Apart from everything else, and made anew each time: the newest is today's.
.PHONY: newest
newest: ## Test the newest of everything that pyproject.toml allows, in part
	@rm -rf .cache/newest && mkdir -p .cache
	@$(MAKE) --no-print-directory VENV=.cache/newest LOCK=no part

# Where a new version of something would hurt: imports, real clients, databases, a flow whose cron
# really gets scheduled runs.
.PHONY: part
part: $(DEVELOPMENT)
	@$(BIN)/python -m tests.corpus.fetch
	$(PYTEST) -m 'not thorough or newest' tests/catalog \
		tests/cli/test_commands.py tests/download/http/test_transport.py tests/e2e/test_install.py \
		tests/flows/test_deployments.py tests/serve/test_server.py tests/test_project.py

.PHONY: demo
demo: $(RUNTIME) ## Show the whole tour, with no index but pip's own
	@$(BIN)/python -m tests.demo

.PHONY: bench
bench: $(DEVELOPMENT) ## Measure pypimirror against its peers; takes long
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
picture: $(DEVELOPMENT) ## Draw anew what README shows
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m docs.picture

# For every platform, and every Python from the oldest on. The development's lock holds all of
# it; the others are parts of the same resolution.
COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate \
	--python-version 3.11 --custom-compile-command 'make lock'

.PHONY: lock
lock: $(DEVELOPMENT) ## Renew locks/ with the newest that pyproject.toml allows
	$(COMPILE) --upgrade pyproject.toml --extra postgresql --extra resolve --group test --group lint \
		--output-file locks/development.txt
	$(COMPILE) --upgrade pyproject.toml --extra postgresql --extra resolve \
		--constraint locks/development.txt --output-file locks/runtime.txt
	$(COMPILE) --upgrade --group build \
		--constraint locks/development.txt --output-file locks/build.txt

# Where what the new wheel needs comes from when it is tried: an index, or what is installed here.
DEPENDENCIES ?= index

.PHONY: release
release: $(DEVELOPMENT) ## Check, build and tag the version that CHANGELOG.md names; pushes nothing
	@$(BIN)/python -m tests.corpus.fetch
	@$(BIN)/python .ci/release.py --dependencies $(DEPENDENCIES)

.PHONY: clean
clean: ## Remove what was built and fetched; ./mirror and ./pypimirror.toml stay
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

# The locks are complete, so there is nothing to resolve; and Python compiles what it imports when it
# does: both halve what installing takes. The backend that builds pypimirror is locked like the rest,
# so nothing fetches another one.
LOCKED = $(BIN)/python locks/install.py $(addprefix locks/,$(1))
EDITABLE = $(PIP) install -qq --no-deps --no-build-isolation --editable .
NEWEST = $(PIP) install -qq --upgrade --upgrade-strategy eager

# Dependency groups need a newer pip than the one that an older Python brings.
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
