package state

import "sync/atomic"

// Budget is the memory that the stores of all tasks of a process share. It is safe for concurrent use.
type Budget struct {
	bytesMax int64
	used     atomic.Int64
	tasks    atomic.Int64
}

// NewBudget returns a budget of that many bytes.
func NewBudget(bytesMax int64) *Budget { return &Budget{bytesMax: bytesMax} }

// BytesMax is the size of the budget.
func (b *Budget) BytesMax() int64 { return b.bytesMax }

// UsedBytes is what the stores of all tasks hold.
func (b *Budget) UsedBytes() int64 { return b.used.Load() }
