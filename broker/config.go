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
	// SyncGroup answers acks=all after the bytes were synced to the disk; one fsync serves all requests that wait for
	// it. It is the zero value.
	SyncGroup = log.SyncGroup
	// SyncOS leaves writing back to the operating system, as Apache Kafka does, and syncs in the background: a crash
	// of the process loses nothing, a power cut may lose the last second.
	SyncOS = log.SyncOS
	// SyncAlways syncs after every append.
	SyncAlways = log.SyncAlways
	// SyncNever syncs nothing at all, not even at Close. For tests and throw-away data.
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
	// FS is where Dir lies; nil means the operating system's files (or memory, when Dir is empty). If it has a method
	// SyncAll() error, which syncs everything on it, many partitions that were written to are synced by that one call.
	FS vfs.FS
	// Clock is nil for the machine's.
	Clock Clock
	// Listener accepts TCP connections; nil means no port. The broker closes it.
	Listener net.Listener
	// Advertise is the host:port that clients are told to connect to; empty means the listener's address, or where that
	// is all of the machine's, the one that the client's connection came in by.
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

	// MemoryBytesMax limits the memory that this broker, others, and applications of this process hold together. There
	// is one limit per process: the broker or application that is opened first sets it, and Open fails where it sets
	// another. Default: half of what the container, or else the machine, has. MaxTailBytes and MaxBusyBytes are parts
	// of it, and so are the keys that compaction compares: a log with more keys takes more rounds.
	MemoryBytesMax int64
	// MaxConnections limits open connections, in memory and over TCP together. Default 10000.
	MaxConnections int
	// IdleConnectionMax is how long a TCP connection may be silent while no request of it is being answered, or leave an
	// answer unread, before it is closed. Default 10 min, as connections.max.idle.ms of Apache Kafka.
	IdleConnectionMax time.Duration
	// MaxRequestBytes limits one request frame. Default 100 MiB. Requests other than Produce have no more than 256 bytes
	// for each of MaxTopicPartitions, or 4 MiB where that is less. All lists of a request together have no more than 5
	// things for each of MaxTopicPartitions, or 100,000 where that is less.
	MaxRequestBytes int
	// MaxFetchBytes limits one fetch answer whatever the client asks for. Default 64 MiB. An answer on a connection has
	// no more than a sixteenth of MaxBusyBytes either, but for a first batch that is larger.
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
	// The newest piece, of 256 KiB or one append, is kept whatever the limit. What answers still refer to is not
	// counted. A limit that shrinks, since others join the process's, is obeyed at the next append. Default a fraction
	// of MemoryBytesMax, 64 MiB at most.
	MaxTailBytes int64
	// MaxBusyBytes limits what requests of all connections hold: a half is for those that are being read or appended, a
	// quarter for answers to fetches, and a quarter for what is decompressed of batches while they are checked. A request
	// waits to be read until its bytes fit, and a fetch to be answered; what is larger than its part passes alone.
	// Requests and answers of 32 KiB or less do not count. Requests of that size do not wait. A client that takes longer
	// than 30 s to send a mebibyte of a request that counts is disconnected, and so is one that does not take a mebibyte
	// of an answer in 30 s, or stands still for 5 s in the middle of either, while others wait. Not counted are what a
	// request keeps that waits for its answer, as JoinGroup does, and calls of Produce and Fetch, which applications of
	// this process use and count. Default a fraction of MemoryBytesMax, 256 MiB at most.
	MaxBusyBytes int64
	// CompactionBytesPerSecondMax is the I/O budget of compaction: what it reads and writes in a second, in all topics
	// together. A second's worth may come at once. Default 128 MiB.
	CompactionBytesPerSecondMax int64
	// MaxTopicPartitions limits the partitions of all topics together. Default 20000.
	MaxTopicPartitions int
	// MaxOpenFiles limits how many files of all partitions are open at the same time; the others are opened when they
	// are needed. At most half of them have writes that are not on the disk yet: where more partitions are written to at
	// a time, appends wait for the disk. Files that are read at the same moment may exceed it by their number. Default
	// half of what the process may open (ulimit -n), 16384 at most; no limit in memory.
	MaxOpenFiles int
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
	setDefault(&c.IdleConnectionMax, 10*time.Minute)
	setDefault(&c.MaxRequestBytes, 100<<20)
	setDefault(&c.MaxFetchBytes, 64<<20)
	setDefault(&c.MaxBatchBytes, 1<<20+12)
	setDefault(&c.SegmentBytes, 1<<30)
	setDefault(&c.MaxPipelinedRequests, 64)
	setDefault(&c.MaxGroupMembers, 10_000)
	setDefault(&c.CompactionBytesPerSecondMax, 128<<20)
	setDefault(&c.MaxTopicPartitions, 20_000)
	setDefault(&c.MaxOpenFiles, defaultOpenFiles(c.FS))
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
		{"IdleConnectionMax", c.IdleConnectionMax, time.Millisecond},
	} {
		check(d.value >= d.least, "%s is %v, must be at least %v", d.name, d.value, d.least)
	}
	if c.Advertise != "" {
		err := checkAdvertised(c.Advertise)
		check(err == nil, "Advertise %q: %v", c.Advertise, err)
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
		{"MemoryBytesMax", c.MemoryBytesMax, 0, math.MaxInt64},
		{"MaxTailBytes", c.MaxTailBytes, 0, math.MaxInt64},
		{"MaxBusyBytes", c.MaxBusyBytes, 0, math.MaxInt64},
		{"CompactionBytesPerSecondMax", c.CompactionBytesPerSecondMax, compactionBytesMin, math.MaxInt64},
		{"MaxTopicPartitions", int64(c.MaxTopicPartitions), 1, math.MaxInt32},
		{"MaxOpenFiles", int64(c.MaxOpenFiles), 8, math.MaxInt32},
	} {
		check(n.value >= n.least && n.value <= n.most, "%s is %d, must be %d to %d", n.name, n.value, n.least, n.most)
	}
	return errors.Join(errs...)
}

// compactionBytesMin is the smallest budget of compaction, in bytes a second.
const compactionBytesMin = 1 << 20

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}
