# Everything of cyborg by one word; `make help` lists the words. Each does its own set-up (tools/setup.sh) and fails
# when something is missing: a check is never skipped.

SHELL := /bin/sh
.DELETE_ON_ERROR:
.NOTPARALLEL:
.DEFAULT_GOAL := help
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin:/usr/local/go/bin

CARGO   ?= cargo
CC      := gcc
GO      ?= go
PYTHON  ?= python3
TARGET  := $(or $(CARGO_TARGET_DIR),target)
STATIC  := $(TARGET)/release/libcyborg.a
SHARED  := $(TARGET)/release/libcyborg.so
BUILD   := build
C_FLAGS := -std=c11 -O2 -g -Wall -Wextra -Wpedantic -Werror -Iinclude
C_LIBS  := -lpthread -ldl -lm -lgcc_s
SOURCES := $(shell find src -name '*.rs' 2>/dev/null) Cargo.toml Cargo.lock build.rs
GO_LIB  := bindings/go/lib/libcyborg.a
# Go keeps what it built and does not look whether a library that it links has changed: this flag does.
GO_SEES  = CGO_CFLAGS="-O2 -g -DCYBORG_SUM=$$(cat $(abspath $(GO_LIB) include/cyborg.h) | cksum | cut -d ' ' -f 1)"
WORDS   := tests/data/words.bin
README  := $(BUILD)/readme
# Where the comparisons find the public datasets (they make them there) and keep Python's packages.
DATA    ?= $(BUILD)/data
SETS    ?= glove sentences glosses
MINUTES ?= 60
VENV    := $(BUILD)/venv
SOAK    ?= 25

.PHONY: help demo demo-go lib test test-rust test-c test-go test-readme soak bench bench-compare bench-compress bench-auto figures header doc fmt clean setup

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{ printf "  make %-14s %s\n", $$1, $$2 }'

# --- the library ------------------------------------------------------------------------------------------------

lib: $(STATIC) $(GO_LIB) ## the release library, static and shared, under target/release

# Both crate types in one compilation, without the Rust one: link-time optimisation applies only so.
$(STATIC) $(SHARED) &: $(SOURCES)
	@tools/setup.sh rust c
	$(CARGO) rustc --locked --release --lib --crate-type staticlib,cdylib
	@touch $(STATIC) $(SHARED)
	@ln -sf libcyborg.so $(SHARED).0 # the name that programs look for, see build.rs

# What the Go package links with: the static library and the header that fits it.
$(GO_LIB): $(STATIC) include/cyborg.h
	cp $(STATIC) include/cyborg.h $(@D)/

header: ## rewrite include/cyborg.h and the golden files from src/ffi
	@tools/setup.sh rust c
	CYBORG_UPDATE=1 $(CARGO) test --locked --test header

doc: ## the pages of the Rust code, warnings denied
	@tools/setup.sh rust c
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

fmt: ## format the sources
	@tools/setup.sh rust go
	$(CARGO) fmt
	cd bindings/go && gofmt -w .

# --- the main job on real data ----------------------------------------------------------------------------------

demo: $(BUILD)/demo ## index 20,000 word vectors from C, train while querying, look at the file
	$(BUILD)/demo $(WORDS)

$(BUILD)/demo: bindings/c/examples/demo.c bindings/c/examples/words.h include/cyborg.h $(STATIC)
	@mkdir -p $(BUILD)
	$(CC) $(C_FLAGS) -o $@ $< $(STATIC) $(C_LIBS)

demo-go: $(GO_LIB) ## the same from Go
	@tools/setup.sh go
	cd bindings/go && $(GO_SEES) $(GO) run ./examples/demo ../../$(WORDS)

# --- checks -----------------------------------------------------------------------------------------------------

test: setup test-rust test-c test-go test-readme ## every check; what CI runs
	@echo "make test: every check passed"

setup:
	@tools/setup.sh rust c c++ go python valgrind strace cmake pkg-config

test-rust: ## format, lints, tests (C programs of tests/c too) with both AES providers, documentation
	@tools/setup.sh rust c c++ valgrind strace
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --no-default-features -- -D warnings
	$(CARGO) test --locked
	$(CARGO) test --locked --no-default-features --lib -- crypto
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

test-c: $(STATIC) $(BUILD)/demo ## C examples and out-of-tree consumers, linked both ways
	@tools/setup.sh c cmake pkg-config
	$(MAKE) -C bindings/c test
	$(BUILD)/demo $(WORDS)

test-go: $(GO_LIB) ## Go: vet, tests under the race detector, examples
	@tools/setup.sh go
	cd bindings/go && badly=$$(gofmt -l .) && { test -z "$$badly" || { echo "not as gofmt has it: $$badly" >&2; exit 1; }; }
	cd bindings/go && $(GO) vet ./... && $(GO_SEES) $(GO) test -race -count=1 ./...
	cd bindings/go && $(GO_SEES) $(GO) run ./examples/demo ../../$(WORDS)
	cd bindings/go && $(GO_SEES) $(GO) run ./examples/compression ../../$(WORDS)

# The figures in the README are those of the kept runs; its programs are compiled and run as they stand there, the C one
# linked in both ways.
test-readme: $(GO_LIB) ## the README's figures, C and Go programs
	@tools/setup.sh c go python
	$(PYTHON) benches/compare/figures.py --check
	@rm -rf $(README) && mkdir -p $(README)/static $(README)/dynamic $(README)/go
	awk '/^```/ { on = ($$0 == "```c"); next } on' README.md > $(README)/app.c
	awk '/^```/ { on = ($$0 == "```go"); next } on' README.md > $(README)/go/main.go
	$(CC) $(README)/app.c -Iinclude $(STATIC) -lpthread -ldl -lm -lgcc_s -o $(README)/static/app
	$(CC) $(README)/app.c -Iinclude -L$(TARGET)/release -lcyborg -Wl,-rpath,$(abspath $(TARGET)/release) -o $(README)/dynamic/app
	cd $(README)/static && ./app
	cd $(README)/dynamic && ./app
	cd $(README)/go && $(GO) mod init readme && $(GO) mod edit -require cyborg.invalid/cyborgdb@v0.0.0 \
		-replace cyborg.invalid/cyborgdb=$(abspath bindings/go) && $(GO_SEES) $(GO) run .

soak: ## the tests again with the long ones SOAK (25) times as long
	@tools/setup.sh rust c c++ valgrind strace
	CYBORG_SOAK=$(SOAK) $(CARGO) test --locked --release

# --- figures ----------------------------------------------------------------------------------------------------

bench: ## our own benches, each with its ratio to a limit of this machine
	@tools/setup.sh rust c
	$(CARGO) bench --locked

# One dataset unless SETS names others; FLAGS=--quick takes minutes, FLAGS="--parts train" runs one part again.
COMPARED := $(if $(filter file,$(origin SETS)),glove,$(SETS))

bench-compare: $(SHARED) $(VENV)/ready $(COMPARED:%=$(DATA)/%/info.json) ## beside faiss, hnswlib, usearch, superkmeans; 20 minutes a set
	$(VENV)/bin/python benches/compare/compare.py --lib $(SHARED) --data $(COMPARED:%=$(DATA)/%) --out benches/results $(FLAGS)

figures: ## rewrite the README's table of figures from the kept runs of bench-compare
	@tools/setup.sh python
	$(PYTHON) benches/compare/figures.py

bench-compress: $(SHARED) $(VENV)/ready $(SETS:%=$(DATA)/%/info.json) ## every quantizer against faiss's at equal bytes; an hour
	$(VENV)/bin/python benches/compare/compress.py --lib $(SHARED) --data $(SETS:%=$(DATA)/%) --out benches/results

bench-auto: $(SHARED) $(VENV)/ready $(SETS:%=$(DATA)/%/info.json) ## what quantizer AUTO should take; MINUTES (60) at most
	$(VENV)/bin/python benches/compare/auto.py --lib $(SHARED) --data $(SETS:%=$(DATA)/%) --minutes $(MINUTES) --out benches/results

$(VENV)/ready: benches/compare/requirements.txt
	@tools/setup.sh python venv python-dev c++
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r $<
	@touch $@

$(DATA)/%/info.json: | $(VENV)/ready
	@tools/setup.sh npm
	$(VENV)/bin/python benches/compare/dataset.py $* --out $(DATA)/$*

clean: ## remove what was built (Cargo's part: cargo clean)
	rm -rf $(BUILD)
