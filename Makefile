# Each target works as the first command in a fresh clone: Python >= 3.11, make and a package registry are enough.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
HUB    := $(VENV)/.hub
STAMP  := $(VENV)/.installed
TOOLS  := $(VENV)/.toolchains
LOWEST := .venv-lowest

.PHONY: install run test test-lowest lint types bench clean

install: $(STAMP)

# The hub and the command line alone.
$(HUB): pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "tidings needs Python 3.11 or newer; this is %d.%d (set PYTHON=...)" % v[:2])'
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)  # pip comes last: without it, an earlier install was interrupted
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[hub,cli]'
	@touch $(HUB)

# What the tests and checks need, too.
$(STAMP): $(HUB)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	@touch $(STAMP)

$(TOOLS): $(STAMP)
	$(BIN)/python -m pip install --quiet --group toolchains
	@touch $(TOOLS)

run: $(HUB)
	$(BIN)/tidings serve

test: install $(TOOLS)
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not alone and not by_hand"
	$(BIN)/python -m pytest -m alone

# The oldest versions of our dependencies that pyproject.toml allows, with the newest of everything else.
$(LOWEST)/.installed: $(STAMP)
	@test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(BIN)/uv pip compile --quiet --extra all --resolution lowest-direct --output-file $(LOWEST)/constraints.txt pyproject.toml
	$(BIN)/uv pip install --quiet --python $(LOWEST)/bin/python --editable '.[all]' --group test --constraint $(LOWEST)/constraints.txt
	@touch $@

# The tests of what calls our dependencies: msgspec and tqdm; pyjwt, cryptography and truststore; websockets; starlette,
# uvicorn, httptools, prometheus-client and structlog; typer, rich, psutil and platformdirs. The others are left out.
LOWEST_TESTS := test_tqdm.py \
	$(addprefix protocol/test_,envelope.py payloads.py strict_json.py) \
	$(addprefix access/test_,claims.py fetching.py jwks.py signing_keys.py tokens.py) \
	$(addprefix contract/test_,contract.py event_types.py json_schema.py loading.py) \
	$(addprefix client/test_,client.py http.py reconnect.py sync.py websocket.py websocket_forks.py) relay/test_source.py \
	$(addprefix server/websocket/test_,accept_queue.py protocol.py protocol_closing.py upgrade.py) \
	server/asgi $(addprefix server/http/test_,app.py publish.py stream.py) \
	$(addprefix server/test_,app.py embedding.py metrics.py nginx.py operation_metrics.py serve.py) \
	cli/doctor cli/serve cli/watch cli/run/test_piped_child.py $(addprefix cli/test_,app.py ls.py options.py)

test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m "not alone and not by_hand" $(addprefix tests/,$(LOWEST_TESTS))

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install
	$(BIN)/mypy

bench: install
	$(BIN)/python -m benchmarks.fanout

clean:
	rm -rf $(VENV) $(LOWEST) .pytest_cache .mypy_cache .ruff_cache .hypothesis dist tests/node/node_modules
