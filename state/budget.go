package state

import (
	"sync/atomic"

	"thalweg/internal/memory"
)

// Budget is the memory that the stores of all tasks of a process share. It is safe for concurrent use.
type Budget struct {
	share *memory.Share
	used  atomic.Int64
}

// NewBudget returns a budget of that many bytes.
func NewBudget(bytesMax int64) *Budget { return BudgetOf(memory.NewShare(memory.Rows, bytesMax)) }

// BudgetOf returns a budget that is a part of a share: others may hold the rest.
func BudgetOf(share *memory.Share) *Budget { return &Budget{share: share} }

// BytesMax is what the stores of all that share the budget may hold now.
func (b *Budget) BytesMax() int64 { return b.share.BytesMax() }

// UsedBytes is what the stores of this budget's tasks hold.
func (b *Budget) UsedBytes() int64 { return b.used.Load() }

// Over tells that more is held than may be: [Tx.Relieve] gives it back.
func (b *Budget) Over() bool { return b.share.Over() }

func (b *Budget) use(bytes int64) {
	b.used.Add(bytes)
	b.share.Use(bytes)
}
