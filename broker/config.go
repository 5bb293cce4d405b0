package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/broker/internal/log"
	"thalweg/internal/clock"
)

// Sync says when written records count as durable. Its String is the name that flags use.
type Sync = log.Sync

const (
	// SyncGroup answers acks=all after the bytes were forced to the disk; one force serves all requests that wait for
	// it. It is the zero value.
	SyncGroup = log.SyncGroup
	// SyncOS leaves writing back to the operating system, as Apache Kafka does, and forces in the background: a crash
	// of the process loses nothing, a power cut may lose the last second.
	SyncOS = log.SyncOS
	// SyncAlways forces after every append.
	SyncAlways = log.SyncAlways
	// SyncNever forces nothing at all, not even at Close. For tests and throw-away data.
	SyncNever = log.SyncNever
)

// ParseSync is the inverse of String.
func ParseSync(name string) (Sync, error) {
	for s := SyncGroup; s <= SyncNever; s++ {
		if s.String() == name {
			return s, nil
		}
	}
	return 0, fmt.Errorf("broker: unknown sync mode %q: use group, os, always or never", name)
}

// Config sets a broker up. The zero value is a broker in memory, without a port.
type Config struct {
	// Dir is the data directory; it is created when missing. Empty means a directory in memory: everything is gone
	// after Close.
	Dir string
	// FS is where Dir lies; nil means the operating system's files (or memory, when Dir is empty).
	FS vfs.FS
	// Clock is nil for the machine's.
	Clock Clock
	// Listener accepts TCP connections; nil means no port. The broker closes it.
	Listener net.Listener
	// Advertise is the host:port that clients are told to connect to; empty means the listener's address.
	Advertise string
	Sync      Sync
	// Logger is nil for silence.
	Logger *slog.Logger

	// TopicDefaults are the defaults of topic configurations, by the name that they have with a topic (retention.ms) or
	// with a broker of Apache Kafka (log.retention.ms). They apply to existing topics, too, that do not set them.
	TopicDefaults map[string]string
	// Partitions is the partition count of topics whose creator leaves it open. Default 1.
	Partitions int32
	// AutoCreateTopics lets a metadata request of a client that allows it make a missing topic.
	AutoCreateTopics bool
	// InitialRebalanceDelay is how long an empty group waits for further members before its first assignment. Zero, the
	// default, assigns at once: an embedded broker starts with its application, and a second member costs one
	// rebalance. Apache Kafka waits 3 s.
	InitialRebalanceDelay time.Duration
	// MinSessionTimeout and MaxSessionTimeout bound what members may ask for. Default 6 s (Apache Kafka's) and 30 min.
	MinSessionTimeout, MaxSessionTimeout time.Duration
	// OffsetRetention is how long the offsets of a group without members are kept. Default 7 days.
	OffsetRetention time.Duration
	// MaxTransactionTimeout bounds what transactional producers may ask for. Default 15 min.
	MaxTransactionTimeout time.Duration

	// MaxConnections limits open connections, in memory and over TCP together. Default 10000.
	MaxConnections int
	// MaxRequestBytes limits one request frame. Default 100 MiB.
	MaxRequestBytes int
	// MaxFetchBytes limits one fetch answer whatever the client asks for. Default 64 MiB.
	MaxFetchBytes int
	// MaxBatchBytes is the default of the topic configuration max.message.bytes. Default 1 MiB + 12, Apache Kafka's.
	MaxBatchBytes int
	// SegmentBytes is the default of the topic configuration segment.bytes. Default 1 GiB; 16 MiB when Dir and FS are
	// empty, because a file in memory is copied whenever it outgrows its buffer.
	SegmentBytes int
	// MaxPipelinedRequests limits the unanswered requests of one connection; the next is not read before. Default 64.
	MaxPipelinedRequests int
	// MaxGroupMembers limits the members of one group. Default 10000.
	MaxGroupMembers int
	// MaxTailBytes limits what all partitions together keep of recent appends in memory to serve consumers from.
	// Default 64 MiB.
	MaxTailBytes int64
	// MaxTopicPartitions limits the partitions of all topics together. Default 20000.
	MaxTopicPartitions int
}

func (c Config) withDefaults() Config {
	if c.FS == nil {
		if c.Dir == "" {
			c.FS = vfs.NewMem()
			setDefault(&c.SegmentBytes, 16<<20)
		} else {
			c.FS = vfs.Default
		}
	}
	if c.Dir == "" {
		c.Dir = "broker"
	}
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	setDefault(&c.Partitions, 1)
	setDefault(&c.MinSessionTimeout, 6*time.Second)
	setDefault(&c.MaxSessionTimeout, 30*time.Minute)
	setDefault(&c.OffsetRetention, 7*24*time.Hour)
	setDefault(&c.MaxTransactionTimeout, 15*time.Minute)
	setDefault(&c.MaxConnections, 10_000)
	setDefault(&c.MaxRequestBytes, 100<<20)
	setDefault(&c.MaxFetchBytes, 64<<20)
	setDefault(&c.MaxBatchBytes, 1<<20+12)
	setDefault(&c.SegmentBytes, 1<<30)
	setDefault(&c.MaxPipelinedRequests, 64)
	setDefault(&c.MaxGroupMembers, 10_000)
	setDefault(&c.MaxTailBytes, 64<<20)
	setDefault(&c.MaxTopicPartitions, 20_000)
	return c
}

func (c Config) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("broker: config: "+format, args...))
		}
	}
	check(c.Sync >= SyncGroup && c.Sync <= SyncNever, "unknown Sync %d", c.Sync)
	for _, d := range []struct {
		name  string
		value time.Duration
		least time.Duration
	}{
		{"InitialRebalanceDelay", c.InitialRebalanceDelay, 0},
		{"MinSessionTimeout", c.MinSessionTimeout, time.Millisecond},
		{"OffsetRetention", c.OffsetRetention, time.Millisecond},
		{"MaxTransactionTimeout", c.MaxTransactionTimeout, time.Millisecond},
	} {
		check(d.value >= d.least, "%s is %v, must be at least %v", d.name, d.value, d.least)
	}
	check(c.MinSessionTimeout <= c.MaxSessionTimeout, "MinSessionTimeout %v exceeds MaxSessionTimeout %v",
		c.MinSessionTimeout, c.MaxSessionTimeout)
	for _, n := range []struct {
		name         string
		value, least int64
		most         int64
	}{
		{"Partitions", int64(c.Partitions), 1, int64(c.MaxTopicPartitions)},
		{"MaxConnections", int64(c.MaxConnections), 1, math.MaxInt32},
		{"MaxRequestBytes", int64(c.MaxRequestBytes), 1 << 10, math.MaxInt32},
		{"MaxFetchBytes", int64(c.MaxFetchBytes), 1 << 10, math.MaxInt32},
		{"MaxBatchBytes", int64(c.MaxBatchBytes), 1 << 10, math.MaxInt32},
		{"SegmentBytes", int64(c.SegmentBytes), 1 << 20, math.MaxInt32},
		{"MaxPipelinedRequests", int64(c.MaxPipelinedRequests), 1, math.MaxInt32},
		{"MaxGroupMembers", int64(c.MaxGroupMembers), 1, math.MaxInt32},
		{"MaxTailBytes", c.MaxTailBytes, 0, math.MaxInt64},
		{"MaxTopicPartitions", int64(c.MaxTopicPartitions), 1, math.MaxInt32},
	} {
		check(n.value >= n.least && n.value <= n.most, "%s is %d, must be %d to %d", n.name, n.value, n.least, n.most)
	}
	return errors.Join(errs...)
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}
