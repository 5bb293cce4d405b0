package main

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thalweg/broker"
)

// brokerFlags are the flags that set a field of broker.Config, by its name.
var brokerFlags = map[string]string{
	"Dir": "dir", "Listener": "listen", "Advertise": "advertise", "Sync": "sync", "TopicDefaults": "topic-default",
	"Partitions": "partitions", "AutoCreateTopics": "auto-create", "InitialRebalanceDelay": "initial-rebalance-delay",
	"MinSessionTimeout": "min-session-timeout", "MaxSessionTimeout": "max-session-timeout",
	"OffsetRetention": "offset-retention", "MaxTransactionTimeout": "max-transaction-timeout",
	"MemoryBytesMax": "memory-bytes-max", "MaxConnections": "max-connections",
	"IdleConnectionMax": "idle-connection-max", "MaxRequestBytes": "max-request-bytes",
	"MaxFetchBytes": "max-fetch-bytes", "MaxPipelinedRequests": "max-pipelined-requests",
	"MaxGroupMembers": "max-group-members", "MaxTailBytes": "max-tail-bytes", "MaxBusyBytes": "max-busy-bytes",
	"CompactionBytesPerSecondMax": "compaction-bytes-per-second-max", "MaxTopicPartitions": "max-topic-partitions",
	"MaxOpenFiles": "max-open-files",
}

// limitFlags are the flags for times and limits. Those without a default here have the broker's.
func limitFlags(cmd *cobra.Command, cfg *broker.Config) {
	f := cmd.Flags()
	f.DurationVar(&cfg.InitialRebalanceDelay, "initial-rebalance-delay", 0,
		"how long an empty group waits for further members before its first assignment")
	f.DurationVar(&cfg.MinSessionTimeout, "min-session-timeout", 6*time.Second,
		"the shortest session timeout that members of groups may ask for")
	f.DurationVar(&cfg.MaxSessionTimeout, "max-session-timeout", 30*time.Minute,
		"the longest session timeout that members of groups may ask for")
	f.DurationVar(&cfg.OffsetRetention, "offset-retention", 7*24*time.Hour,
		"how long the offsets of a group without members are kept")
	f.DurationVar(&cfg.MaxTransactionTimeout, "max-transaction-timeout", 15*time.Minute,
		"the longest timeout that transactional producers may ask for")
	f.DurationVar(&cfg.IdleConnectionMax, "idle-connection-max", 10*time.Minute,
		"how long a connection may be silent before it is closed")
	f.Int64Var(&cfg.MemoryBytesMax, "memory-bytes-max", 0,
		"memory that the broker may hold (default half of what the container or the machine has)")
	f.Int64Var(&cfg.MaxTailBytes, "max-tail-bytes", 0,
		"memory for recent records that consumers are served from (default a fraction of memory-bytes-max)")
	f.Int64Var(&cfg.MaxBusyBytes, "max-busy-bytes", 0,
		"memory for requests and answers under way (default a fraction of memory-bytes-max)")
	f.IntVar(&cfg.MaxRequestBytes, "max-request-bytes", 100<<20, "size of a request")
	f.IntVar(&cfg.MaxFetchBytes, "max-fetch-bytes", 64<<20, "size of the answer to a fetch, whatever the client asks for")
	f.IntVar(&cfg.MaxPipelinedRequests, "max-pipelined-requests", 64, "unanswered requests of a connection")
	f.IntVar(&cfg.MaxConnections, "max-connections", 10_000, "open connections")
	f.IntVar(&cfg.MaxGroupMembers, "max-group-members", 10_000, "members of a group")
	f.IntVar(&cfg.MaxTopicPartitions, "max-topic-partitions", 20_000, "partitions of all topics together")
	f.IntVar(&cfg.MaxOpenFiles, "max-open-files", 0,
		"files of partitions that are open at a time (default half of ulimit -n, 16384 at most)")
	f.Int64Var(&cfg.CompactionBytesPerSecondMax, "compaction-bytes-per-second-max", 128<<20,
		"bytes that compaction may read and write in a second, in all topics together")
}

// noZeros refuses flags that are set to zero where broker.Config takes that for a default.
func noZeros(cmd *cobra.Command) error {
	var errs []error
	for _, field := range slices.Sorted(maps.Keys(brokerFlags)) {
		flag := cmd.Flags().Lookup(brokerFlags[field])
		zero := flag.Value.String()
		if flag.Changed && (zero == "0" || zero == "0s") && field != "InitialRebalanceDelay" {
			errs = append(errs, fmt.Errorf("broker: --%s is %s: leave the flag out for the default", flag.Name, zero))
		}
	}
	return errors.Join(errs...)
}

// fieldNames matches the names of fields in an error of broker.Open.
var fieldNames = regexp.MustCompile(`\b[A-Z][A-Za-z]+\b`)

// inFlags names flags where an error of broker.Open names fields of broker.Config.
func inFlags(err error) error {
	if !strings.Contains(err.Error(), "broker: config: ") {
		return err
	}
	return &flagError{err, fieldNames.ReplaceAllStringFunc(err.Error(), func(field string) string {
		if flag, ok := brokerFlags[field]; ok {
			return "--" + flag
		}
		return field
	})}
}

// flagError is an error with another text.
type flagError struct {
	err  error
	text string
}

func (e *flagError) Error() string { return e.text }
func (e *flagError) Unwrap() error { return e.err }
