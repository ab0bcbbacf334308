# Every target goes through the same cargo profile, features and flags, so nothing is built twice.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TARGET := $(or $(CARGO_TARGET_DIR),target)
KEYLEDGER := $(TARGET)/debug/keyledger
DATA := .keyledger/data

.PHONY: help setup build run test lint fmt bench clean-data

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing: Postgres, NATS, nginx, Caddy, cargo-nextest
	@tools/setup

build: setup ## build target/debug/keyledger
	cargo build --workspace --bins

run: setup ## start everything on this machine, with a demo account and a demo data API
	cargo build --workspace --bins
	exec $(KEYLEDGER) dev

# In one command: by itself, what only the tests need would leave other features in the crates that both need, which would
# be built once for each.
test: setup ## build and run every test of the workspace against throw-away servers
	cargo build --workspace --bins --tests
	$(KEYLEDGER) local -- cargo nextest run --workspace

lint: ## formatting and clippy, warnings are errors
	cargo fmt --all --check
	cargo fmt --manifest-path bench/peers/Cargo.toml --check
	cargo clippy --workspace --all-targets -- -D warnings

fmt: ## format the sources
	cargo fmt --all
	cargo fmt --manifest-path bench/peers/Cargo.toml

# The peers come from the crate registry; where it is out of reach, everything else is measured.
bench: setup ## measure on this machine, release build, servers that really write to disk; figures go to bench/
	cargo build --workspace --bins --release
	cargo build --release --locked --manifest-path bench/peers/Cargo.toml --target-dir $(TARGET) || \
		echo "bench/peers cannot be built: going on without it" >&2
	exec $(TARGET)/release/keyledger bench all --out bench/figures.jsonl --svg bench/figures.svg

# The data may live behind a link: see `default_data_dir` in src/local/place.rs.
clean-data: ## forget the data of `make run`
	@if [ -e $(DATA)/postgres/lock ] && ! flock --nonblock $(DATA)/postgres/lock true; then \
		echo "a keyledger is running on $(DATA): stop it first" >&2; exit 1; fi
	rm -rf "$$(readlink -f $(DATA))" $(DATA)
