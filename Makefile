# browser_session: end remote browser sessions from SQL.
#
# `make help` lists the targets.  Building, installing and cleaning are PGXS's;
# all other targets set up what they need by themselves, so they must
# not ask for PostgreSQL's development files before they had a chance to
# install them.

.DEFAULT_GOAL := all

SELF_SUFFICIENT = help test test-asan test-versions coverage lint demo bench \
	fuzz

.PHONY: $(SELF_SUFFICIENT)

help:
	@echo 'make               build the extension'
	@echo 'make install       install it into the PostgreSQL that pg_config names'
	@echo 'make clean         remove what was built'
	@echo 'make demo          end five real browsers: from SQL, and at their expiry'
	@echo 'make test          run all tests (T=regress, isolation, tap, fuzz, lint'
	@echo '                   or demo: that kind only; T=tap:NAME: of those,'
	@echo '                   NAME only; T="KIND...": several)'
	@echo 'make test-asan     run regress, isolation and tap with the sanitizers'
	@echo '                   for addresses and undefined behaviour (T= as above)'
	@echo 'make test-versions run them with the PostgreSQL of newer Debians, each in'
	@echo '                   a folder that debootstrap makes (VERSIONS_MIRROR=URL)'
	@echo 'make coverage      run them and print which lines ran (T= as above)'
	@echo 'make lint          the same as make test T=lint'
	@echo 'make fuzz          fuzz what reads replies, ids and options (F="reply'
	@echo '                   request options": these only; FUZZ_SECONDS=N: how'
	@echo '                   long each, 60 by default)'
	@echo 'make bench         measure it against libcurl alone (B="CASE...": these'
	@echo '                   cases only; ROUNDS=N: how often, 5 by default)'
	@echo 'make installcheck  run the tests on an installed server by hand'
	@echo
	@echo 'PG_CONFIG=/path/to/pg_config  builds for another PostgreSQL'
	@echo 'WERROR=1                      makes compiler warnings errors'
	@echo
	@echo 'All but build, install, clean and installcheck install the Debian packages'
	@echo 'that they lack, and work in a temporary copy with a server of their own.'

test:
	@test/run $(T)

test-asan:
	@test/run --asan $(T)

test-versions:
	@test/versions $(T)

coverage:
	@test/run --coverage $(T)

lint:
	@test/run lint

demo:
	@test/demo

fuzz:
	@test/fuzz/run $(F)

bench:
	@test/bench/run $(B)

ifneq ($(filter-out $(SELF_SUFFICIENT),$(or $(MAKECMDGOALS),all)),)

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

ifeq ($(wildcard $(PGXS)),)
$(error No PostgreSQL to build for: "$(PG_CONFIG)" is missing or knows no \
	PGXS.  Install the server's development files (Debian: \
	postgresql-server-dev-15) or set PG_CONFIG=/path/to/pg_config)
endif

# The version stands in the control file and nowhere else.
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" \
	browser_session.control)

EXTENSION = browser_session
MODULE_big = browser_session
OBJS = $(patsubst %.c,%.o,$(wildcard src/*.c))
DATA = $(wildcard sql/browser_session--*.sql)

# PostgreSQL's headers are system headers to us: -Wextra is for our code.
PG_CPPFLAGS = -Isrc -isystem $(includedir_server) \
	-DBS_VERSION='"$(EXTVERSION)"'
PG_CFLAGS = -Wall -Wextra $(if $(WERROR),-Werror)
SHLIB_LINK = -lcurl -ljansson

# PostgreSQL's own flags are those of the compiler it was built with.
ifneq ($(findstring clang,$(CC)),)
PG_CFLAGS += -Wno-unknown-warning-option -Wno-ignored-optimization-argument
endif

# A PostgreSQL with JIT wants bitcode too; without its clang, do without.
LLVM_CLANG := $(shell sed -n 's/^CLANG *= *//p' \
	$(dir $(PGXS))../Makefile.global)
ifeq ($(shell command -v $(firstword $(LLVM_CLANG)) 2>/dev/null),)
override with_llvm = no
endif

# Expected results of both kinds are in the top-level expected/.
REGRESS := $(patsubst test/sql/%.sql,%,$(sort $(wildcard test/sql/*.sql)))
REGRESS_OPTS = --inputdir=test
ISOLATION := $(patsubst test/specs/%.spec,%,$(sort $(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --outputdir=.
PROVE_TESTS := $(sort $(wildcard test/t/*.pl))
TAP_TESTS := $(if $(PROVE_TESTS),1)

EXTRA_CLEAN = test/provider_sim test/scarce.so

include $(PGXS)

PG_PROVE_FLAGS += -I test/perl

# PGXS does not know which headers a file includes.
$(OBJS): $(wildcard src/*.h) browser_session.control
$(OBJS:.o=.bc): $(wildcard src/*.h) browser_session.control

SIM_SOURCES = $(wildcard test/provider_sim.c test/sim/*.c)

test/provider_sim: $(SIM_SOURCES) $(wildcard test/sim/*.h)
	$(CC) -std=gnu11 -O1 -g -pthread $(PG_CFLAGS) -o $@ $(SIM_SOURCES) \
		-lmicrohttpd -ljansson

# Makes a server short of memory, descriptors or disk.
test/scarce.so: test/scarce.c
	$(CC) -std=gnu11 -D_GNU_SOURCE -O1 -g -fPIC -shared $(PG_CFLAGS) \
		-isystem $(includedir_server) -o $@ $<

# The tests talk to providers through the simulator: the TAP tests start it,
# for the others test/run does.
installcheck: test/provider_sim test/scarce.so
installcheck: export SCARCE = $(CURDIR)/test/scarce.so
installcheck: export PROVIDER_SIM = $(CURDIR)/test/provider_sim

endif
