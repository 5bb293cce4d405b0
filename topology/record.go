package topology

import "thalweg/internal/batch"

// Header is a record header; a nil Value is null.
type Header = batch.Header

// Record is one record on its way through a task.
type Record[K, V any] struct {
	Key       K
	Value     V
	Timestamp int64    // milliseconds since the epoch
	Headers   []Header // shared with the record's other receivers: read-only
	NullKey   bool     // the key is null; Key is then the zero value
	NullValue bool     // the value is null; Value is then the zero value
}

// Change is the value of a record between two table nodes: what a key's row became and, where a node downstream
// has asked for it, what it was before.
type Change[V any] struct {
	New, Old       V
	HasNew, HasOld bool // false: no row, or (Old) not asked for
	// Stale is set by versioned tables alone: the row is not the key's latest (out-of-order update).
	Stale bool
}

// Metadata says where the record that a task processes came from.
type Metadata struct {
	Topic     string
	Partition int32
	Offset    int64
}
