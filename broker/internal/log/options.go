package log

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options sets one partition's log up. FS, Dir, Now and Syncer are required.
type Options struct {
	FS        vfs.FS
	Dir       string // the partition's own directory; its parent must exist
	Topic     string // for errors
	Partition int32
	Now       func() time.Time // the wall clock
	Age       func() time.Time // the steady clock, see ages; nil means Now
	Syncer    *Syncer          // shared by all logs of a broker
	Memory    *Memory          // shared budget of the tails kept in memory; nil means a budget of its own
	Pacer     *Pacer           // shared I/O budget of compaction; nil means no limit
	Files     *Files           // shared limit of open files; nil means no limit
	Logger    *slog.Logger     // nil means silence

	// OnAdvance is called after the high watermark, the last stable offset or the log start moved, outside of every
	// lock, on the goroutine that moved them. It must not block. It may be nil.
	OnAdvance func()

	// Together is for a log that is opened with others: see Gathering. Open does not keep it. It may be nil.
	Together *Together

	// LeaderEpoch is stamped on appended batches.
	LeaderEpoch int32
	// Known says that the log was made before: an empty or missing directory is damage.
	Known  bool
	Config Config
}

// Config is what may change while the log is open. Zero values mean the default.
type Config struct {
	SegmentBytes   int64         // default 1 GiB
	SegmentAge     time.Duration // default 7 days
	RetentionBytes int64         // 0 or less: unlimited
	RetentionAge   time.Duration // 0 or less: unlimited
	MaxBatchBytes  int           // default 1 MiB + 12
	IndexBytes     int           // bytes of log between two index entries, 1 MiB at most; default 4096
	AheadBytes     int64         // blocks set aside beyond the end, for a disk that is full; default 0
	Compact        bool          // cleanup.policy contains compact: keys are required, the log is compacted
	Delete         bool          // cleanup.policy contains delete: retention applies
	LogAppendTime  bool          // timestamps are the broker's
	// How far a producer's timestamps may lie before and after the broker's clock; 0: as far as they like.
	TimestampBeforeMax, TimestampAfterMax time.Duration

	ProducerExpiry   time.Duration // default 24 h
	DeleteRetention  time.Duration // how long compaction keeps tombstones; default 24 h
	MinCleanable     float64       // compact when that share of the log is dirty; default 0.5
	MinCompactionLag time.Duration // younger records are not compacted; default 0
	MaxCompactionLag time.Duration // segments with older records are compacted whatever share is dirty; 0: none
	TailBytes        int           // of recent appends kept in memory for consumers; default 4 MiB
	// UncheckedBytes of the active segment may follow on the last snapshot before Maintain takes another. A start after
	// a crash reads what follows on the snapshot. Default 64 MiB.
	UncheckedBytes int64
}

func (c Config) withDefaults() Config {
	setDefault(&c.SegmentBytes, 1<<30)
	setDefault(&c.SegmentAge, 7*24*time.Hour)
	setDefault(&c.MaxBatchBytes, 1<<20+12)
	setDefault(&c.IndexBytes, 4096)
	setDefault(&c.ProducerExpiry, 24*time.Hour)
	setDefault(&c.DeleteRetention, 24*time.Hour)
	setDefault(&c.MinCleanable, 0.5)
	setDefault(&c.TailBytes, 4<<20)
	setDefault(&c.UncheckedBytes, 64<<20)
	return c
}

func setDefault[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

func (o *Options) check() error {
	if o.FS == nil || o.Dir == "" || o.Now == nil || o.Syncer == nil {
		return errors.New("log: options: FS, Dir, Now and Syncer are required")
	}
	if o.Age == nil {
		o.Age = o.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Memory == nil {
		o.Memory = NewMemory(16 << 20)
	}
	if o.Files == nil {
		o.Files = NewFiles(0)
	}
	return nil
}

// name is how errors call the partition.
func (o *Options) name() string { return fmt.Sprintf("%s-%d", o.Topic, o.Partition) }

// Isolation chooses what a read sees of transactions.
type Isolation int8

const (
	// ReadUncommitted reads up to the high watermark.
	ReadUncommitted Isolation = iota
	// ReadCommitted reads up to the last stable offset and names aborted transactions.
	ReadCommitted
)

// Appended says where the batches of one Append lie.
type Appended struct {
	BaseOffset    int64 // of the first batch
	LastOffset    int64 // of the last batch: the offset to wait for
	LogAppendTime int64 // milliseconds; -1 unless the log stamps its own time
	LogStart      int64
	// Duplicate means that the log had the batches already: the offsets are those of the first time.
	Duplicate bool
}

// Marker ends a producer's transaction in this partition.
type Marker struct {
	ProducerID       int64
	ProducerEpoch    int16
	CoordinatorEpoch int32
	Commit           bool
}

// ReadResult is what a Read found. Batches are runs of whole batches in order; the first may begin before the offset
// asked for. The memory is immutable and never reused.
type ReadResult struct {
	Batches       [][]byte
	Bytes         int
	HighWatermark int64
	LastStable    int64
	LogStart      int64
	Aborted       []Aborted // ReadCommitted only: those that overlap Batches, by first offset
}

// Aborted says that a producer's records from FirstOffset up to its next abort marker are void.
type Aborted struct {
	ProducerID  int64
	FirstOffset int64
	LastOffset  int64 // of the marker
}

// OpenTransaction is a transaction without a marker yet.
type OpenTransaction struct {
	ProducerID    int64
	ProducerEpoch int16
	FirstOffset   int64
}

// ProducerInfo is what DescribeProducers tells.
type ProducerInfo struct {
	ProducerID       int64
	ProducerEpoch    int16
	LastSequence     int32
	LastTimestamp    int64 // milliseconds
	CoordinatorEpoch int32 // -1 before the first marker
	TxnFirstOffset   int64 // -1 without an open transaction
}

// TimeOffset is the answer to a question about timestamps.
type TimeOffset struct {
	Offset      int64
	Timestamp   int64 // milliseconds
	LeaderEpoch int32
}
