# Building needs Go only. 'generate' needs what .ci/run installs.
export CGO_ENABLED = 0
X = -X ingero/internal/cli
STAMP = $(X).version=$(shell git describe --tags --always) $(X).commit=$(shell git rev-parse --short HEAD) $(X).built=$(shell git log -1 --format=%cs)

build:          ; go build -trimpath -ldflags '-s -w $(STAMP)' -o bin/ingero ./cmd/ingero
install: build  ; install -m 0755 bin/ingero /usr/local/bin/ingero
ui:             ; cd tools && go run ./ui
generate:       ; go generate ./internal/probe && test/workload/build.sh
test:           ; go test ./...
test-bpf:       ; REQUIRE_BPF=1 go test -count=1 ./...
test-browser:   ; cd test/browser && go vet . && go test -count=1 -timeout 15m .
test-otlp:      ; cd test/otlp && go vet . && go test -count=1 -timeout 10m .
test-prometheus: ; cd test/prometheus && go vet . && go test -count=1 .
screens:        ; cd test/browser && REQUIRE_BROWSER=1 go test -count=1 -run 'TestScreens|TestSpeedscope' . -screens ../../docs/screens
test-nvidia:    ; INGERO_TEST_NVIDIA=1 go test -count=1 -v -timeout 30m ./test/nvidia
test-mcp:       ; INGERO_TEST_MCP=1 go test -count=1 -v -timeout 15m -run "Inspector|Conformance" ./test/surface
bench: build    ; go run ./test/bench
faults: build   ; go run ./test/faults -o docs/accuracy.md -report internal/accuracy/report.json
check:          ; test -z "$$(gofmt -l cmd internal test tools)" && go vet ./... && GOARCH=arm64 go build -o /dev/null ./cmd/ingero && go test -count=1 -v ./internal/style
.PHONY: build install ui generate test test-bpf test-browser test-otlp test-prometheus screens test-nvidia test-mcp bench faults check
