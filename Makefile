# Two targets matter to a newcomer: demo and test. Both install or build what they need and say so.
# Everything is built with the same flags, so that Go's cache is shared by the product, the lab (lab/build) and the tests.
# What is not debugged needs no DWARF, and compiles in a sixteenth less time.
export CGO_ENABLED := 0
export GOFLAGS := -trimpath -gcflags=all=-dwarf=false

# For the compiler, which lives for seconds: without collecting garbage it takes a sixth less time. The limit is for the
# linker. Nothing that is tested runs like this.
COMPILE := GOGC=off GOMEMLIMIT=2GiB

BIN := bin
LDFLAGS := -s -w
LAB := $(BIN)/isthmus-lab
RESULTS := $(BIN)/results
REPORT := go run ./test/report

.DEFAULT_GOAL := help

.PHONY: help
help: ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.PHONY: demo
demo: programs packages ## two real clusters become one mesh, and real calls prove it
	@./examples/quickstart/demo.sh

.PHONY: test
test: programs packages ## go vet, and every test: unit, script, and lab on real clusters
	@$(LAB) build >$(BIN)/programs
	$(COMPILE) go vet -tags lab ./...
	@rm -rf $(RESULTS)
	$(REPORT) run -layer "unit and script" -out $(RESULTS)/1.json \
		env ISTHMUS_TEST_BIN=$$(cat $(BIN)/programs) go test -json -vet=off -timeout 30m ./...
	$(REPORT) run -layer lab -stream -out $(RESULTS)/2.json \
		go test -json -vet=off -tags lab -p 1 -count 1 -timeout 80m ./lab ./lab/build ./test/lab
	@$(REPORT) sum $(RESULTS)/*.json

.PHONY: unit
unit: ## only the tests that need no real program: seconds
	@$(REPORT) run -layer unit -skips any -out $(RESULTS)/unit.json go test -json ./...
	@echo "not run     tests on real clusters: make test"

.PHONY: bench
bench: programs packages ## the numbers of docs/numbers.md, measured here
	@$(LAB) build >$(BIN)/programs
	go test -count 1 -timeout 60m -run '^$$' -bench Plan -benchtime 1x ./internal/engine
	ISTHMUS_TEST_BIN=$$(cat $(BIN)/programs) go test -count 1 -timeout 30m -run '^$$' -bench Wave -benchtime 1x ./internal/apply
	go test -tags lab -count 1 -timeout 90m -run '^$$' -bench . -benchtime 1x -v ./test/lab

.PHONY: programs
programs: ## bin/isthmus and bin/isthmus-lab
	@echo "building    isthmus, isthmus-lab (minutes the first time, then kept)"
	@mkdir -p $(BIN)
	@$(COMPILE) go build -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/...

.PHONY: packages
packages: ## Debian packages that the lab calls
	@.ci/packages

.PHONY: lint
lint: vulncheck ## golangci-lint with the project's config, gofumpt, go vet, vulncheck
	go tool -modfile=tools/go.mod golangci-lint run ./...

.PHONY: vulncheck
vulncheck: ## Go's vulnerability database against this code; what stands is judged in tools/vuln/judged.txt
	go test -C tools/vuln ./...
	go run -C tools/vuln .

# FUZZTIME is how long each fuzzer runs; what it finds is in the testdata of its package.
FUZZTIME ?= 5m

.PHONY: fuzz
fuzz: ## every fuzzer for FUZZTIME
	@for f in $$(grep -rlE '^func Fuzz' --include=*_test.go internal lab); do \
		for name in $$(sed -nE 's/^func (Fuzz[A-Za-z]*)\(.*/\1/p' $$f); do \
			echo "fuzzing     $$name in $$(dirname $$f)"; \
			go test ./$$(dirname $$f) -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) -parallel 1 || exit 1; \
		done; \
	done

.PHONY: clean
clean: ## the built programs; never a lab or a cache
	rm -rf $(BIN)
