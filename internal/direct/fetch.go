package direct

import "time"

// Isolation chooses what a fetch sees of transactions.
type Isolation int8

const (
	// ReadUncommitted sees everything up to the high watermark.
	ReadUncommitted Isolation = iota
	// ReadCommitted ends at the last stable offset and names the aborted transactions within what it returns.
	ReadCommitted
)

// FetchRequest asks for the batches of partitions.
type FetchRequest struct {
	Isolation Isolation
	// MaxWait is how long to wait for MinBytes; 0 answers at once with what is there.
	MaxWait  time.Duration
	MinBytes int
	// MaxBytes limits the whole answer, and FetchPartition.MaxBytes one partition's part; 0 means the broker's limit.
	// The first batch that there is comes whole even when it is larger.
	MaxBytes   int
	Partitions []FetchPartition
}

// FetchPartition is the place to read from in one partition.
type FetchPartition struct {
	Topic string
	// TopicID refuses another topic of that name with UNKNOWN_TOPIC_ID; the zero id takes any.
	TopicID   [16]byte
	Partition int32
	Offset    int64
	MaxBytes  int
}

// FetchResult answers one FetchPartition, in the order of the request.
type FetchResult struct {
	Topic     string
	Partition int32
	// Batches are runs of whole record batches, in order. The first may begin before the offset asked for. The memory
	// is immutable and never reused: views of it stay valid for as long as they are held.
	Batches          [][]byte
	HighWatermark    int64
	LastStableOffset int64
	LogStartOffset   int64
	// Aborted lists the aborted transactions that overlap Batches, by first offset; nil under ReadUncommitted.
	Aborted []AbortedTxn
	// Err is nil or an error that wraps the protocol's *kerr.Error (errors.As).
	Err error
	// Passed tells that the answer was full before: nothing was read, and there may be something.
	Passed bool
	// AfterDamage is the offset from which the partition can be read again, where Err is CORRUPT_MESSAGE because a
	// file is damaged; 0 where that is not known.
	AfterDamage int64
}

// AbortedTxn says that the records of a producer from FirstOffset on, up to its next abort marker, are void.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset int64
}
