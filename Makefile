# SPDX-License-Identifier: Apache-2.0
#
# `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# sudo's PATH has no /usr/local/go/bin.
export PATH := $(PATH):/usr/local/go/bin

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  ?= $(shell git rev-parse HEAD 2>/dev/null)
BIRDS   := bird3-trixie bird2-sid bird3-sid
# The older kernel on which `make test` tries the programs, too.
KERNEL  := bookworm
# Where `make demo` leaves its profiles and reports.
OUT     ?= demo-out
# Of each fuzz target.
FUZZTIME ?= 30s
# How long BIRDs are followed at the end of `make torture`.
SOAK    ?= 1h
# What `make bench` floods, how often, and which BIRDs: NAME for one of Debian's, or
# NAME=PATH for your own.
BENCH_ROUNDS ?= 7
BENCH_ROUTES ?= 290000
BENCH_BIRDS  ?= bird2-sid bird3-trixie
BENCH_FLAGS  ?= # see: go run ./scripts/bench flood -h
# Which of Go's benchmarks `make benchmarks` runs.
BENCH   ?= .

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## make bin/leakprof
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-X main.version=$(VERSION) -X main.commit=$(COMMIT)' -o bin/leakprof ./cmd/leakprof

.PHONY: man
man: build ## write the man pages into bin/man
	mkdir -p bin/man
	bin/leakprof man bin/man

.PHONY: release
release: ## make the archive of the commit that is checked out, in dist/
	scripts/release

.PHONY: check-release
check-release: ## make the archive twice, the second time without Go's cache, and compare (minutes)
	scripts/release --check

.PHONY: demo
demo: ## run the case on a BIRD of its own, from nothing to the report (as root)
	@scripts/install-deps demo
	@scripts/bird-root bird3-trixie >/dev/null
	@$(MAKE) --no-print-directory build
	bin/leakprof lab --bird .bird/bird3-trixie/usr/sbin/bird --routes 25000 --out $(OUT)

.PHONY: test
test: ## install what is missing and run every check and test (as root; minutes)
	@scripts/install-deps test
	@for bird in $(BIRDS); do scripts/bird-root $$bird >/dev/null; done
	@scripts/kernel-image $(KERNEL) >/dev/null
	@$(MAKE) --no-print-directory check-generated lint build
	go test -count=1 -timeout 20m -p 1 ./...
	scripts/kernels --core $(KERNEL)

.PHONY: generate
generate: ## compile the BPF programs and make the Go code that loads them
	go generate ./...

.PHONY: check-generated
check-generated: ## fail if generated files are not what their sources make
	scripts/check-generated

.PHONY: fmt
fmt: ## format the Go code
	gofmt -w $$(go list -f '{{.Dir}}' ./...)

.PHONY: lint
lint: ## gofmt and go vet, for aarch64 too
	@unformatted=$$(gofmt -l $$(go list -f '{{.Dir}}' ./...)); \
	if [[ -n $$unformatted ]]; then echo "make lint: run make fmt for:" $$unformatted >&2; exit 1; fi
	go vet ./...
	GOARCH=arm64 go build -o /dev/null ./cmd/leakprof
	GOARCH=arm64 go vet ./...

.PHONY: kernels
kernels: ## try the programs and a lab on Debian's kernels, emulated (as root; half an hour)
	@scripts/install-deps test
	scripts/kernels

.PHONY: torture
torture: ## every build, every cut of every BIRD; 1,000 attaches, 200 kills, BIRDs that end; SOAK (1h) of churn (as root; hours)
	@scripts/install-deps test
	LEAKPROF_TORTURE=1 go test -count=1 -timeout 90m -run 'TestEveryByte|TestCuts|TestManyCycles' ./profiler
	LEAKPROF_TORTURE=1 go test -count=1 -timeout 30m -run TestGuard ./profiler/experiment
	LEAKPROF_TORTURE=1 LEAKPROF_SOAK=$(SOAK) go test -count=1 -timeout 6h -v \
		-run 'TestAttachedAgain|TestKilledAt|TestBirdEnds|TestUpgradedAnd|TestOutOfMemory|TestDiskFull|TestTwoAtOnce|TestStopped|TestSoak' ./cmd/leakprof

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (30s), or for FUZZCPU seconds of CPU; FUZZ=REGEXP chooses, FUZZPARALLEL workers
	FUZZTIME=$(FUZZTIME) FUZZCPU=$(FUZZCPU) FUZZPARALLEL=$(FUZZPARALLEL) scripts/fuzz $(if $(FUZZ),'$(FUZZ)')

.PHONY: bench
bench: ## measure what leakprof costs, beside nothing, empty probes and other profilers (as root; hours); BENCH_ROUNDS, BENCH_ROUTES, BENCH_BIRDS make it smaller
	@$(bench_needs)
	go run ./scripts/bench flood $(bench_flags)
	go run ./scripts/bench leaks -rounds $(BENCH_ROUNDS)
	go run ./scripts/bench leaks -rounds 1 -kept 2000000 -pairs 0
	go run ./scripts/bench leaks -rounds 1 -kept 10000000 -pairs 0
	go run ./scripts/bench timings $(bench_flags)

.PHONY: bench-plots
bench-plots: ## measure what a hit costs by live objects and by threads of BIRD 3, and draw it in docs/ (as root; an hour)
	@$(bench_needs)
	go run ./scripts/bench plots -rounds $(BENCH_ROUNDS) $(BENCH_FLAGS) -bird bird3-trixie=$$(scripts/bird-root bird3-trixie)

.PHONY: bench-doc
bench-doc: ## put the tables of the last `make bench` and `make bench-plots` into docs/performance.md
	go run ./scripts/bench doc

bench_needs = scripts/install-deps bench && scripts/bench/memleak-root && $(MAKE) --no-print-directory build
bench_flags = -rounds $(BENCH_ROUNDS) -routes $(BENCH_ROUTES) $(BENCH_FLAGS) $\
	$$(for bird in $(BENCH_BIRDS); do case $$bird in *=*) ;; *) bird=$$bird=$$(scripts/bird-root $$bird) ;; esac; echo "-bird $$bird"; done)

.PHONY: benchmarks
benchmarks: ## run Go's benchmarks; BENCH=REGEXP chooses
	go test -run '^$$' -bench '$(BENCH)' -benchmem -p 1 ./...

.PHONY: clean
clean: ## remove what was built and what the demo and the bench wrote, but not the fetched BIRDs (.bird)
	rm -rf bin dist demo-out bench-out
