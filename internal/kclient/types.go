package kclient

import (
	"context"
	"time"

	"thalweg/internal/batch"
	"thalweg/internal/direct"
)

// Fetched is what one fetch brought of one partition.
type Fetched struct {
	TopicPartition
	// Batches are verified, in order, read-only, and stay valid for as long as somebody holds them. Batches of
	// aborted transactions are left out unless ReadUncommitted; control batches are in. The first may begin before
	// From: skip those records.
	Batches []batch.Batch
	Bytes   int // of Batches
	// From is the offset that was asked for. Next is the offset that the next fetch asks for: all below it has been
	// delivered, left out or compacted away, so that "everything up to X is here" means Next >= X.
	From, Next int64
	// HighWatermark, LastStable and LogStart are the partition's at the time of the fetch.
	HighWatermark, LastStable, LogStart int64
	// Asked is when the fetch was sent: whatever readers could see then is here where Next is LastStable.
	Asked time.Time
	// Err means that the partition's fetching stopped until the next Set: *OutOfRangeError, *RecreatedError in an *Error,
	// or an error that a retry does not remove. The other fields are then of no use.
	Err error

	partition  *fetchPartition
	generation uint64
}

// Stale tells that Set or Unset was called for the partition after this was fetched: drop it.
func (f *Fetched) Stale() bool { return f.partition.generation.Load() != f.generation }

// Item is one batch to produce. It belongs to the client from Produce until it comes back from TakeProduced, Builder
// included.
type Item struct {
	TopicPartition
	Builder *batch.Builder
	// Next is set when the item comes back: the offset after its last record; -1 when Err is set, and when the
	// broker had the batch from a try so long ago that it doesn't know the offset any more.
	Next int64
	// Err is set when the batch was given up: the producer's error, or ErrDiscarded.
	Err error
}

// Offset is a position of a group in a partition.
type Offset struct {
	TopicPartition
	Next        int64 // the offset to read next; -1 = nothing committed
	LeaderEpoch int32 // of the record before Next; -1 = unknown
	Metadata    string
}

// transport is the data plane: it moves batches between this process and one broker. Errors of the call mean that
// no answer came; errors of a partition are in the answers, which are in the order of the request.
type transport interface {
	fetch(ctx context.Context, node int32, req *fetchRequest) ([]fetchAnswer, error)
	produce(ctx context.Context, node int32, req *produceRequest) ([]produceAnswer, error)
	// interruptible tells that a fetch whose context ends costs nothing, so that it may be cut short to ask for
	// more partitions.
	interruptible() bool
	// watch prepares to wait for more of a partition; nil where that is not possible: then a fetch names all partitions,
	// and waits itself.
	watch(tp TopicPartition, id TopicID, readCommitted bool, fire func()) direct.Watch
	// gathers tells that a request may hold several batches of a partition and waits for the disk once: so producing
	// in large rounds saves forces.
	gathers() bool
	// checked tells that the checksums of what fetch returns were checked in this process.
	checked() bool
}

type fetchRequest struct {
	readCommitted bool
	waitMillis    int32
	bytesMax      int32
	partitions    []fetchTarget
}

type fetchTarget struct {
	TopicPartition
	topicID     [16]byte
	leaderEpoch int32
	offset      int64
	bytesMax    int32
}

type fetchAnswer struct {
	runs                                [][]byte // whole batches; the last may be cut
	highWatermark, lastStable, logStart int64
	aborted                             []abortedTxn
	err                                 error
	afterDamage                         int64 // where to read on after err; 0: unknown
	passed                              bool  // the answer was full before it came here
}

type abortedTxn struct {
	producerID, firstOffset int64
}

type produceRequest struct {
	transactionalID string
	timeoutMillis   int32
	partitions      []produceTarget
}

type produceTarget struct {
	TopicPartition
	topicID [16]byte
	raw     []byte // the builder's: not to be kept nor changed
}

type produceAnswer struct {
	baseOffset int64
	err        error
}
