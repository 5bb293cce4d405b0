# The Go tools of an older installation fetch the toolchain that go.mod names.
export GOTOOLCHAIN := auto

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: skew sim sim-defects descriptors starts handlers memory model history history-defects moves newcomer bench-kafka bench-rebalance oracle help test invariants race random fuzz bench lint verify kill kafka clients requests changelogs fmt

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-15s %s\n", $$1, $$2}'

test: ## all tests that need nothing but Go
	go test ./...

invariants: ## with checks of what is believed to hold
	go test -tags invariants ./internal/task ./state/... ./topology ./runtime

race: ## the same under the race detector
	go test -race ./...

random: ## 5000 random topologies: engines, restarts, partitions, commits, the optimizer
	go test -count 1 -timeout 30m ./internal/oracle -run TestRandomTopologies -random 5000

moves: ## 3000 random moves of an application's state and topics, rows compared with a model
	go test -count 1 -timeout 60m ./runtime -run TestMovedState -moves 3000 -v

lint: ## vet, staticcheck, formatting
	go vet ./...
	go run $(STATICCHECK) ./...
	@test -z "$$($$(go env GOROOT)/bin/gofmt -l . | tee /dev/stderr)"

fmt: ## format everything
	$$(go env GOROOT)/bin/gofmt -w .

CORPUS := internal/oracle/testdata/public.jsonl.gz

oracle: ## the scenarios with Kafka Streams' results in every way to run them; CORPUS=FILE for another file, SEED=n COUNT=m for fresh ones (needs Java 17 and Maven)
ifdef SEED
	@internal/oracle/java/fresh $(SEED) $(or $(COUNT),1000)
else
	@mkdir -p bin && go test -c -o bin/oracle.test ./internal/oracle
	@cd internal/oracle && ../../bin/oracle.test -test.run Corpus -mode all -corpus $(abspath $(CORPUS))
endif

FUZZTIME := 20s

fuzz: ## each fuzz target for FUZZTIME=20s
	@go list ./... | while read -r p; do \
	  go test -list '^Fuzz' "$$p" | grep '^Fuzz' | while read -r f; do \
	    echo "$$p $$f"; go test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "$$p" || exit 1; done || exit 1; done

bench: ## the workloads of docs/performance.md on the bundled broker
	go build -o bin/thalweg ./cmd/thalweg
	for w in stateless 'stateless --filled' count wordcount window session table-join stream-join fk-join latency restore; do bin/thalweg bench $$w || exit 1; done

bench-kafka: ## W=WORKLOAD in turns with Kafka Streams, broker-* with Apache Kafka, BENCH="-pairs 5 -tuned …" for more (needs Java 17 and Maven)
	go run ./internal/kafkatest/bench -w $(W) $(BENCH)

bench-rebalance: ## 200 tasks at 50,000 records/s, without and with standbys: how long results stand still in a rebalance
	go build -o bin/thalweg ./cmd/thalweg
	for n in 0 1; do bin/thalweg bench rebalance --workers 1 --standbys $$n $(BENCH) || exit 1; done

memory: ## peaks of resident memory with a limit of 256 MiB, with and without cgo; RECORDS=N for less of the data
	internal/verify/memory $(RECORDS)

verify: ## word counts against awk: workers, guarantees, bundled broker and Apache Kafka
	internal/verify/wordcount

newcomer: ## a newcomer's first hour: the README's commands from a fresh clone with empty caches
	internal/verify/newcomer

descriptors: ## a broker with 10,000 partitions in a process that may open 1024 files
	ulimit -n 1024 && go test -count 1 -v ./broker -run TestManyPartitions -partitions 10000

starts: ## how long a broker with 10 GiB in 5,000 partitions takes to stop, and to start after a stop and after a kill
	go test -count 1 -v -timeout 30m ./broker -run TestStopsAndStarts -partitions 5000 -log-bytes $$((10 << 30))

kill: ## kill -9 of the example and of the broker at random moments, counts checked; a minute of histories
	go test -tags kill -count 1 -v -timeout 40m ./internal/verify/...

SEEDS := 1000

model: ## SEEDS=n random programs against the broker and a naive model: partitions and transactions, and groups
	go test -count 1 -timeout 0 -run TestModel ./broker -model $(SEEDS)

sim: ## SEEDS=n applications and brokers in virtual time under faults, from SEED=n on, each REPEAT=n times
	internal/sim/build bin/sim.test
	bin/sim.test -test.run TestSimulation -test.v -test.timeout 0 -seed $(or $(SEED),1) \
	  -seeds $(if $(SEED),$(if $(filter file,$(origin SEEDS)),1,$(SEEDS)),$(SEEDS)) -repeat $(or $(REPEAT),1)

sim-defects: ## the same with nine defects, one after the other: each is found
	internal/sim/build bin/sim-defects.test -tags defects
	bin/sim-defects.test -test.run TestSeededDefects -test.v -test.timeout 0

handlers: ## how many statements of each of the broker's handlers the fuzz targets' seeds run, and which they do not
	internal/verify/handlers

skew: ## backlogs of up to 100,000 records a partition behind a repartition: processes that are stopped, clocks that are behind
	go test -tags kill -count 1 -v -timeout 30m -run TestSkew ./internal/verify

MINUTES := 10

history: ## MINUTES=n of clients' histories under faults: processes that are killed, brokers in memory that lose power
	go test -tags kill -count 1 -v -timeout 0 -run TestHistory ./internal/verify -minutes $(MINUTES)

history-defects: ## the same with six defects, one after the other: each is found
	go test -tags 'kill defects' -count 1 -v -timeout 0 -run TestSeededDefects ./internal/verify

kafka: ## the suites that run against Apache Kafka from its Maven artifacts (needs Java 17 and Maven)
	internal/kafkatest/suite

clients: ## clients in Java, C, Python, Node and Kafka Streams on the bundled broker: docs/compatibility.md (needs Java 17, Maven, Python 3, Node)
	internal/kafkatest/clients

requests: ## record again what clients ask a broker, the seeds of its fuzz targets (needs what clients needs)
	RECORD=broker/testdata/requests internal/kafkatest/clients

changelogs: ## write again what Kafka Streams leaves in its changelogs, for the tests (needs Java 17 and Maven)
	internal/kafkatest/kafka jars
	go test -tags java -count 1 -run GoOn ./internal/kafkatest -update
	go test -count 1 ./internal/kafkatest
