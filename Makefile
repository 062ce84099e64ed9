# On a Debian machine with Go, `make demo` and `make test` are all that is needed:
# they install a PostgreSQL server, sshd, a C compiler and drivers where these are missing.

.DEFAULT_GOAL := help
.PHONY: help build demo test test-versions bench fuzz lint fmt notice clean

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT)

# Tools run at fixed versions and stay out of go.mod.
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT  := mvdan.cc/gofumpt@v0.12.0

FUZZTIME ?= 30s

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## bin/gateway
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/gateway ./cmd/gateway

demo: build ## a writer's first sync, three ways, on real parts (KEEP=1 leaves it running)
	@scripts/install-deps
	@go build -o bin/demo ./e2e/demo
	@GATEWAY_BIN=bin/gateway KEEP=$(KEEP) bin/demo

test: ## vet, unit tests with the race detector, tests against real parts
	@scripts/test

test-versions: ## the tests against real parts, with PostgreSQL 13 to 18 and, best effort, 12 (VERSIONS="13 18" for some)
	@scripts/install-deps test
	go run ./scripts/pgversions $(VERSIONS)

bench: build ## direct, PgBouncer and the gateway side by side
	@scripts/install-deps bench
	go run ./bench $(BENCHFLAGS)

fuzz: ## every fuzz target for FUZZTIME (30s) each
	@scripts/fuzz $(FUZZTIME)

lint: ## gofumpt, go vet, golangci-lint, NOTICE is current
	@test -z "$$(go run $(GOFUMPT) -l . | tee /dev/stderr)" || { echo 'not formatted: run `make fmt`'; exit 1; }
	go vet ./...
	go run $(GOLANGCI) run ./...
	go run ./scripts/notice -check

fmt: ## formats all Go files
	go run $(GOFUMPT) -l -w .

notice: ## writes NOTICE from the licences of what the binary contains
	go run ./scripts/notice

clean: ## removes what was built
	rm -rf bin build
