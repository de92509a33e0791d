# mtpfs: everything a newcomer, a developer and CI need. `make` lists the targets.

MNT ?= $(HOME)/mnt
SOURCE ?= any
FUZZ_SECONDS ?= 60
FSX_STEPS ?= 10000
FSX_SEED ?= 1
SOAK_SECONDS ?= 1200
SOAK_SEED ?= 1
STRESS_SECONDS ?= 3600
STRESS_SEED ?= 1000
# More than there are processors: tests wait a lot.
TEST_PROCESSES ?= $(shell echo $$((5 * $$(nproc) / 2)))
DEMO := $(CURDIR)/.demo/phone
PREFIX ?= /usr/local
# Many shells hand over the tilde of MNT=~/phone as it stands.
home = $(patsubst ~/%,$(HOME)/%,$(patsubst ~,$(HOME),$(1)))
override MNT := $(call home,$(MNT))
override PREFIX := $(call home,$(PREFIX))
override DESTDIR := $(call home,$(DESTDIR))
# One environment for each interpreter: `make test PYTHON=python3.12`.
VENV := .venv$(addprefix -,$(notdir $(PYTHON)))
BIN := $(VENV)/bin
export PREFIX DESTDIR SBINDIR ZSHDIR FISHDIR PYTHON VENV REASON

.PHONY: help demo mount umount build install uninstall deb test check docs format programs-test desktop-test vm-test fuzz fsx every-step soak stress coverage bench perf-guard clean

help:
	@echo "make demo   [MNT=~/mnt]               try it: mount a phone made of software"
	@echo "make mount  [MNT=~/mnt] [SOURCE=any]  mount the phone that is plugged in"
	@echo "make umount [MNT=~/mnt]               unmount either"
	@echo "make install [PREFIX=/usr/local]      install it (before that, make build, to do that without root)"
	@echo "make uninstall [PREFIX=/usr/local]    remove what was installed, and nothing else"
	@echo "make deb                              build a Debian package"
	@echo "make test   [PYTHON=python3.12]       set up and run the tests"
	@echo "make check                            lint and types"
	@echo "make docs                             build the documentation, as pages for a browser"
	@echo "make programs-test                    test with other people's programs: git, rsync, sqlite, ffmpeg ..."
	@echo "make desktop-test                     test with file managers, on a virtual screen"
	@echo "make vm-test                          test on real USB, in a virtual machine"
	@echo "make fuzz   [FUZZ_SECONDS=60]         fuzz what a device's bytes reach"
	@echo "make fsx    [FSX_STEPS=10000]         random operations on every kind of phone"
	@echo "make soak   [SOAK_SECONDS=1200]       work on mounts while everything goes wrong"
	@echo "make stress [STRESS_SECONDS=3600]     try one order of events after the other"
	@echo "make coverage                         which branches of the layers the tests reach"
	@echo "make bench                            measure it, beside other programs"
	@echo "make perf-guard [REASON='why']        count what each scene costs; store what has changed, and why"
	@echo "make format, make clean"

demo:
	@contrib/setup run
	@$(BIN)/python contrib/demo-phone "$(DEMO)"
	@contrib/mount-on "virtual:$(DEMO)" "$(MNT)"
	@ls "$(MNT)"/*
	@echo; echo "A phone made of software is mounted on $(MNT); its files are in $(DEMO)."
	@echo "Look around, copy in and out. To unmount it: make umount MNT=$(MNT)"

mount:
	@contrib/setup run
	@contrib/mount-on "$(SOURCE)" "$(MNT)"
	@ls -l "$(MNT)"
	@echo; echo "Mounted on $(MNT). To unmount: make umount MNT=$(MNT)"

umount:
	@$(BIN)/mtpfs umount "$(MNT)"

build:
	@contrib/setup build
	@contrib/install build

install: build
	@contrib/install install

uninstall:
	@contrib/install uninstall

deb:
	@contrib/setup deb
	@contrib/deb/build

test:
	@contrib/setup dev
	contrib/leaving-nothing $(BIN)/python -m pytest --numprocesses=$(TEST_PROCESSES) --maxschedchunk=4

check:
	@contrib/setup dev
	! git grep -nE '^(<<<<<<<|>>>>>>>) '  # what a merge has left
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs:
	@contrib/setup docs
	$(BIN)/mkdocs build --strict --quiet
	@echo "The documentation is in build/docs/index.html"

format:
	@contrib/setup dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

fuzz:
	@contrib/setup fuzz
	@for target in decoders stream packets session network; do \
		$(BIN)/python fuzz/fuzz.py $$target -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -artifact_prefix=.fuzz- || exit 1; \
	done

fsx:
	@contrib/setup dev
	$(BIN)/python -m pytest --numprocesses=$(TEST_PROCESSES) --fsx-steps=$(FSX_STEPS) --fsx-seed=$(FSX_SEED) \
		-o faulthandler_timeout=0 tests/conformance/test_fsx.py

every-step:
	@contrib/setup dev
	$(BIN)/python -m pytest --numprocesses=$(TEST_PROCESSES) --all-steps -o faulthandler_timeout=0 \
		tests/vfs/test_every_step.py tests/cli/test_every_step.py tests/cli/test_import_every_step.py

soak:
	@contrib/setup dev
	PYTHONPATH=tests $(BIN)/python -m soak --seconds $(SOAK_SECONDS) --seed $(SOAK_SEED)

coverage:
	@contrib/setup dev
	rm -rf build/coverage
	mkdir -p build/coverage
	$(BIN)/coverage run -m pytest -q --numprocesses=$(TEST_PROCESSES) --maxschedchunk=4 tests/protocol tests/virtual \
		tests/transport tests/session tests/device tests/vfs tests/fuse tests/stress tests/hostile; \
	status=$$?; $(BIN)/coverage combine --quiet && $(BIN)/coverage report && exit $$status

stress:
	@contrib/setup dev
	PYTHONPATH=tests $(BIN)/python -m stress --seconds $(STRESS_SECONDS) --seed $(STRESS_SEED)

desktop-test:
	@contrib/setup desktop
	rm -rf build/desktop
	contrib/leaving-nothing $(BIN)/python -m pytest -o addopts="-ra --strict-markers --import-mode=importlib" tests/desktop
	@echo "The screenshots are in build/desktop"

programs-test:
	@contrib/setup programs
	contrib/leaving-nothing $(BIN)/python -m pytest -o addopts="-ra --strict-markers --import-mode=importlib" \
		--numprocesses=$(TEST_PROCESSES) tests/programs

vm-test:
	@contrib/setup vm
	tests/vm/run

bench:
	@contrib/setup bench
	VM_LIMIT=3600 tests/vm/run -- .venv/bin/python benchmarks/bench.py --lab --divisor 10 --rounds 2 /mnt
	$(BIN)/python benchmarks/bench.py --local .vm
	@echo "The results are in .vm: results-usb.md, results-local.md, results.svg"

perf-guard:
	@contrib/setup dev
	$(BIN)/python -m pytest -p no:randomly tests/perf $${REASON:+"--store-counts=$$REASON"}

clean:
	@mounted=$$(findmnt -n -t fuse.mtpfs -S "virtual:$(DEMO)" -o TARGET); if [ -n "$$mounted" ]; then \
		echo "The demo is mounted on $$mounted: \`make umount MNT=$$mounted\` first." >&2; exit 1; fi
	rm -rf .venv .venv-* .demo .vm .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
	find . -name __pycache__ -prune -exec rm -rf {} +
