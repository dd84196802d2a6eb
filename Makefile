# The commands of this repository. Every target first sets up what is missing (tools/setup), so each may be the
# first command typed in a fresh clone. PYTHON=python3.12 picks the interpreter; each has its own .venv-<version>.

PYTHON ?=
ARGS ?=
# How many processes run the tests: half as many again as there are processors, since about a third of the time a test
# waits (for a child, a peer, a timer). worksteal hands out neighbours together, so that few processes start a server
# or build a wheel that several tests share, and shares out anew what is left at the end.
JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$((n + n / 2)))
PYTEST = -m pytest -q -n $(JOBS) --dist worksteal
SETUP = tools/setup -p "$(PYTHON)"
BUILD_EXT = setup.py -q build_ext --inplace
C_FILES = find src benchmarks -name '*.c' -o -name '*.h'

.DEFAULT_GOAL := help
.PHONY: help setup build servers test test-sanitize test-freethreaded test-threads test-tsan test-embedded test-stdlib test-apps \
    test-inside test-sid test-debug model model-transports model-tasks faults-allocation faults-calls faults-guards \
    prove fuzz leaks soak coverage lint stubtest format docs demo wheel bench bench-latency bench-page \
    bench-instructions bench-gil bench-threads clean

help: ## print this list
	@echo "make TARGET [PYTHON=python3.12] [JOBS=1] [ARGS='arguments for pytest or the benchmark']"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

setup: ## install what is missing (libev's headers, a virtual environment) and build
	@bin=$$($(SETUP) build test apps) && "$$bin/python" $(BUILD_EXT)

build: ## build the extension in place
	@bin=$$($(SETUP) build) && "$$bin/python" $(BUILD_EXT)

servers: ## install PostgreSQL and Redis, which tests of their clients start; without them those are skipped
	@tools/servers

demo: ## a chat server and 50 clients on loopmod, beside stock asyncio
	@bin=$$($(SETUP) build) && "$$bin/python" $(BUILD_EXT) && "$$bin/python" examples/demo.py

test: ## build with warnings as errors and run the whole test suite
	@bin=$$($(SETUP) build test apps) && LOOPMOD_WERROR=1 "$$bin/python" $(BUILD_EXT) && \
	"$$bin/python" $(PYTEST) $(ARGS)

# On loopmod's loops alone: on stock asyncio's no code of ours runs, and a sanitizer has nothing to look at.
test-sanitize: ## the same suite on a build with AddressSanitizer and UndefinedBehaviorSanitizer
	@bin=$$($(SETUP) build test apps) && tree=$$(tools/variant sanitize) && cd "$$tree" && \
	LOOPMOD_WERROR=1 LOOPMOD_SANITIZE=1 "$$bin/python" $(BUILD_EXT) && \
	env PYTHONPATH="$$tree" PYTHONMALLOC=malloc LOOPMOD_TEST_ONLY="$${LOOPMOD_TEST_ONLY-loopmod}" \
	    LD_PRELOAD="$$($${CC:-cc} -print-file-name=libasan.so)" \
	    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	    "$$bin/python" $(PYTEST) $(ARGS)

# The interpreter is built first, unless PYTHON names one.
test-freethreaded: ## the same suite without the GIL, on a free-threaded CPython 3.14: see tools/freethreaded
	@python="$(PYTHON)"; [ -n "$$python" ] || python=$$(tools/freethreaded) || exit; [ -n "$$python" ] || exit 0; \
	bin=$$(tools/setup -p "$$python" build test apps) && LOOPMOD_WERROR=1 "$$bin/python" $(BUILD_EXT) && \
	PYTHON_GIL="$${PYTHON_GIL-0}" "$$bin/python" $(PYTEST) $(ARGS)

test-threads: ## a million calls from sixteen threads in each test of them, without the GIL: see tools/freethreaded
	@LOOPMOD_TEST_CALLS="$${LOOPMOD_TEST_CALLS-1000000}" $(MAKE) test-freethreaded \
	    ARGS="-n 0 $(or $(ARGS),tests/unit/core/test_threadsafe_many.py) -k 'not asyncio'"

test-tsan: ## tests/unit, or ARGS, without the GIL under ThreadSanitizer: see tools/test-tsan
	@tools/test-tsan $(ARGS)

test-embedded: ## the same suite with libev compiled in (its source comes from apt, or LOOPMOD_LIBEV_SRC)
	@bin=$$($(SETUP) build test apps) && \
	if source=$$(tools/libev-source); then \
	    tree=$$(tools/variant embedded) && cd "$$tree" && \
	    LOOPMOD_WERROR=1 LOOPMOD_LIBEV_SRC="$$source" "$$bin/python" $(BUILD_EXT) && \
	    PYTHONPATH="$$tree" LOOPMOD_LIBEV_SRC="$$source" "$$bin/python" $(PYTEST) $(ARGS); \
	else \
	    echo "test-embedded: skipped, no source of libev: set LOOPMOD_LIBEV_SRC to a directory with ev.c"; \
	fi

test-stdlib: ## only CPython's own asyncio suite, as the interpreter ships it, on loopmod
	@bin=$$($(SETUP) build test) && "$$bin/python" $(BUILD_EXT) && \
	"$$bin/python" -m pytest -q -rs tests/stdlib $(ARGS)

test-apps: ## the suites of other projects on stock asyncio and on loopmod, compared: ARGS='anyio janus'
	@bin=$$($(SETUP) build test) && "$$bin/python" $(BUILD_EXT) && "$$bin/python" tests/suites $(ARGS)

test-inside: ## programs with servers inside (datasette, Gradio, mitmproxy, ...), in an environment of their own
	@bin=$$($(SETUP) build) && "$$bin/python" $(BUILD_EXT) && \
	{ [ -x build/inside/bin/pytest ] || { "$$bin/python" -m venv build/inside && \
	    build/inside/bin/pip install -q -r requirements/inside.txt; }; } && \
	build/inside/bin/python -m pytest -q -rs tests/apps/test_servers_inside.py $(ARGS)

test-sid: ## the same suite on CPython 3.14 and 3.15, in a chroot; ARGS='3.15 tests/unit', see tools/test-sid
	@tools/test-sid $(ARGS)

test-debug: ## tests/unit on a debug build of CPython 3.14, in the same chroot
	@tools/test-sid 3.14-dbg $(if $(ARGS),$(ARGS),tests/unit)

model: model-transports model-tasks ## random programs on stock asyncio and on loopmod, their logs compared

model-transports: ## for transports, streams, sockets: ARGS='--seconds 600 --first 1000' or a seed
	@bin=$$($(SETUP) build test) && "$$bin/python" $(BUILD_EXT) && "$$bin/python" tests/model/transports $(ARGS)

model-tasks: ## random programs for futures, tasks and all above them, and interrupted loads: ARGS='--seconds 600' or a seed
	@bin=$$($(SETUP) build test) && "$$bin/python" $(BUILD_EXT) && "$$bin/python" tests/model/tasks $(ARGS)

faults-allocation: ## fail each allocation of each scenario in its turn: ARGS='--loop asyncio --allocator libc' or a scenario
	@bin=$$($(SETUP) build test) && "$$bin/python" $(BUILD_EXT) && "$$bin/python" tests/faults/allocation $(ARGS)

faults-calls: ## system calls that fail, by a seed or each in turn: ARGS='--seeds 10000', ARGS=--enumerate or a seed
	@bin=$$($(SETUP) build test) && "$$bin/python" $(BUILD_EXT) && "$$bin/python" tests/faults/calls $(ARGS)

faults-guards: ## take guards out of the C source, one by one, and see that a test notices: ARGS='poll:'
	@bin=$$($(SETUP) build test) && "$$bin/python" tests/faults/guards $(ARGS)

prove: ## CBMC proves ring, heap, list, output buffer, TLS framing and freelists; ARGS='heap', see tests/proofs/README.md
	@bin=$$($(SETUP) build) && "$$bin/python" tests/proofs $(ARGS)

fuzz: ## fuzzing with coverage, by clang's libFuzzer; ARGS='tls --seconds 600', see tests/fuzz/README.md
	@bin=$$($(SETUP) build test) && "$$bin/python" $(BUILD_EXT) && "$$bin/python" tests/fuzz $(ARGS)

leaks: ## what one cycle of each kind leaves: bytes, or references on a debug CPython: ARGS='--loop asyncio tcp'
	@bin=$$($(SETUP) build test) && "$$bin/python" $(BUILD_EXT) && "$$bin/python" tests/leaks $(ARGS)

soak: ## 5,000 connections and all else that come and go for 20 minutes: ARGS='--loop asyncio --minutes 10'
	@bin=$$($(SETUP) build test) && "$$bin/python" $(BUILD_EXT) && "$$bin/python" tests/soak $(ARGS)

coverage: ## run the suite on a build with gcov counters; the report goes to build/coverage/report
	@bin=$$($(SETUP) build test apps coverage) && tree=$$(tools/variant coverage) && cd "$$tree" && \
	LOOPMOD_COVERAGE=1 "$$bin/python" $(BUILD_EXT) && \
	find build -name '*.gcda' -delete && mkdir -p report && \
	{ PYTHONPATH="$$tree" "$$bin/python" $(PYTEST) $(ARGS); failed=$$?; \
	  "$$bin/gcovr" --root . --txt --html-details report/index.html build && exit $$failed; }

lint: ## ruff, mypy --strict, clang-format and the checks of the workflows, all without changing anything
	@bin=$$($(SETUP) lint) && \
	"$$bin/ruff" check . && "$$bin/ruff" format --check . && "$$bin/mypy" --strict && \
	$(C_FILES) | xargs "$$bin/clang-format" --dry-run -Werror && \
	"$$bin/check-jsonschema" -q --builtin-schema vendor.github-workflows .github/workflows/*.yml && \
	"$$bin/zizmor" -q --offline .github

stubtest: ## compare the stubs of the C core with what it is
	@bin=$$($(SETUP) build lint) && "$$bin/python" $(BUILD_EXT) && "$$bin/python" -m mypy.stubtest loopmod._loopmod

docs: ## build the documentation into build/docs, with warnings as errors
	@bin=$$($(SETUP) build docs) && "$$bin/python" $(BUILD_EXT) && \
	NO_MKDOCS_2_WARNING=1 "$$bin/python" -m mkdocs build -q --strict && echo build/docs/index.html

format: ## rewrite the files as lint wants them
	@bin=$$($(SETUP) lint) && "$$bin/ruff" check --fix . && "$$bin/ruff" format . && \
	$(C_FILES) | xargs "$$bin/clang-format" -i

wheel: ## a wheel for this Python with libev inside, in dist/
	@bin=$$($(SETUP) build wheel) && tree=$$(tools/variant wheel) && rm -rf "$$tree"/build/lib.* "$$tree"/build/raw && \
	"$$bin/python" -m pip wheel -q --no-deps --no-build-isolation -w "$$tree/build/raw" "$$tree" && \
	PATH="$$bin:$$PATH" "$$bin/python" -m auditwheel repair --strip -w dist "$$tree"/build/raw/loopmod-*.whl && \
	ls dist/*.whl

# Without ARGS the samples are kept, and the pages made anew of them.
bench: ## compare with every other loop, and make the figures of the pages: ARGS=--quick; see benchmarks/README.md
	@bin=$$($(SETUP) build bench bench-optional) && "$$bin/python" $(BUILD_EXT) && \
	"$$bin/python" benchmarks/compare.py $(or $(ARGS),--keep)

bench-latency: ## latency at 50 and 80 % of each loop's own maximum, beside each other: ARGS='--seconds 1 --rounds 3'
	@bin=$$($(SETUP) build bench bench-optional) && "$$bin/python" $(BUILD_EXT) && \
	"$$bin/python" benchmarks/open_loop.py $(or $(ARGS),--keep)

bench-page: ## the figures of README.md and docs/performance.md anew from benchmarks/results, without measuring
	@bin=$$($(SETUP) bench) && "$$bin/python" benchmarks/page.py

bench-instructions: ## count the instructions of core and server cases with callgrind: ARGS='--case sleep_0'
	@bin=$$($(SETUP) build bench) && "$$bin/python" $(BUILD_EXT) && "$$bin/python" benchmarks/instructions.py $(ARGS)

bench-gil: ## how long another thread waits for the GIL beside callbacks that are C only
	@bin=$$($(SETUP) build bench) && "$$bin/python" $(BUILD_EXT) && "$$bin/python" benchmarks/gil_wait.py $(ARGS)

# Peers that a free-threaded interpreter has no wheel of are compiled, or named by pip.
bench-threads: ## loops in threads without the GIL, beside each other: ARGS='--threads 2 --rounds 9'; see benchmarks/README.md
	@python="$(PYTHON)"; [ -n "$$python" ] || python=$$(tools/freethreaded) || exit; [ -n "$$python" ] || exit 0; \
	bin=$$(tools/setup -p "$$python" build bench-threads) && "$$bin/python" $(BUILD_EXT) && \
	"$$bin/python" benchmarks/threads.py $(ARGS)

clean: ## remove everything that a build or a test run left
	rm -rf build dist .venv-* *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find loopmod src tests examples -name '*.so' -o -name '__pycache__' | xargs rm -rf
