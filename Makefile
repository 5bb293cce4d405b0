# The Go tools of an older installation fetch the toolchain that go.mod names.
export GOTOOLCHAIN := auto

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: newcomer bench-kafka oracle help test invariants race random fuzz bench lint verify kill kafka clients changelogs fmt

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-11s %s\n", $$1, $$2}'

test: ## all tests that need nothing but Go
	go test ./...

invariants: ## with checks of what is believed to hold
	go test -tags invariants ./internal/task ./state/... ./topology ./runtime

race: ## the same under the race detector
	go test -race ./...

random: ## 5000 random topologies: engines, restarts, partitions, commits, the optimizer
	go test -count 1 -timeout 30m ./internal/oracle -run TestRandomTopologies -random 5000

lint: ## vet, staticcheck, formatting
	go vet ./...
	go run $(STATICCHECK) ./...
	@test -z "$$($$(go env GOROOT)/bin/gofmt -l . | tee /dev/stderr)"

fmt: ## format everything
	$$(go env GOROOT)/bin/gofmt -w .

CORPUS := internal/oracle/testdata/public.jsonl.gz

oracle: ## the scenarios with Kafka Streams' results in every way to run them; CORPUS=FILE for another file
	@mkdir -p bin && go test -c -o bin/oracle.test ./internal/oracle
	@cd internal/oracle && ../../bin/oracle.test -test.run Corpus -mode all -corpus $(abspath $(CORPUS))

fuzz: ## each fuzz target for 20 seconds
	@go list ./... | while read -r p; do \
	  go test -list '^Fuzz' "$$p" | grep '^Fuzz' | while read -r f; do \
	    echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime 20s "$$p" || exit 1; done || exit 1; done

bench: ## the workloads of docs/performance.md on the bundled broker
	go build -o bin/thalweg ./cmd/thalweg
	for w in stateless 'stateless --filled' count wordcount window session table-join stream-join fk-join latency restore; do bin/thalweg bench $$w || exit 1; done

bench-kafka: ## W=WORKLOAD in turns with Kafka Streams, BENCH="-pairs 5 -tuned …" for more (needs Java 17 and Maven)
	go run ./internal/kafkatest/bench -w $(W) $(BENCH)

verify: ## word counts against awk: workers, guarantees, bundled broker and Apache Kafka
	internal/verify/wordcount

newcomer: ## a newcomer's first hour: the README's commands from a fresh clone with empty caches
	internal/verify/newcomer

kill: ## kill -9 of the example and of the broker at random moments, counts checked
	go test -tags kill -count 1 -v -timeout 40m ./internal/verify/...

kafka: ## the suites that run against Apache Kafka from its Maven artifacts (needs Java 17 and Maven)
	internal/kafkatest/suite

clients: ## clients in Java, C, Python, Node and Kafka Streams on the bundled broker (needs Java 17, Maven, Python 3, Node)
	internal/kafkatest/clients

changelogs: ## write anew what Kafka Streams leaves in its changelogs, for the tests (needs Java 17 and Maven)
	internal/kafkatest/kafka jars
	go test -tags java -count 1 -run GoOn ./internal/kafkatest -update
	go test -count 1 ./internal/kafkatest
