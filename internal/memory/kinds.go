package memory

import "math"

// Kind is what memory is held for.
type Kind uint8

// The kinds.
const (
	// Rows are the rows of stores in memory: the cache, what is not committed, what is committed and not in the engine
	// yet, decoded objects, join and suppress buffers.
	Rows Kind = iota
	// Engine is the state engine's: blocks of its files, and its memtables.
	Engine
	// Fetched is what was fetched of inputs and is not processed.
	Fetched
	// Restored is what was fetched of changelogs and is not in the stores.
	Restored
	// Produced is what tasks have written and no broker has acknowledged.
	Produced
	// Tails are recent appends that the bundled broker keeps for its consumers.
	Tails
	// Requests are the bundled broker's requests and answers under way.
	Requests
	// Compaction is the keys that the bundled broker compares when it compacts a log.
	Compaction
	// Clients is what clients have read ahead, and written without an acknowledgment.
	Clients

	kinds
)

func (k Kind) String() string {
	if k >= kinds {
		return "unknown"
	}
	return table[k].name
}

// OffHeap tells that memory of the kind lies outside of Go's heap.
func (k Kind) OffHeap() bool { return table[k].offHeap }

// kindOf is how one kind takes part in the division.
type kindOf struct {
	name    string
	weight  int64 // of the shares that are not fixed
	least   int64 // bytes without which nothing works
	part    int64 // bytes without which a worker, or what fills a global store, does not work
	filling int64 // bytes that filling a global store needs beside its part
	most    int64 // bytes beyond which more is of no use
	offHeap bool
}

const (
	kibi = 1 << 10
	mebi = 1 << 20
)

var table = [kinds]kindOf{
	Rows:       {"rows", 48, 2 * mebi, 64 * kibi, 0, math.MaxInt64, false},
	Engine:     {"engine", 24, 4 * mebi, 256 * kibi, 0, math.MaxInt64, engineOffHeap},
	Fetched:    {"fetched", 8, 2 * mebi, 256 * kibi, 0, 64 * mebi, false},
	Restored:   {"restored", 6, 2 * mebi, 0, 512 * kibi, 64 * mebi, false}, // the least is for four tasks
	Produced:   {"produced", 6, 1 * mebi, 256 * kibi, 0, 256 * mebi, false},
	Tails:      {"tails", 5, 1 * mebi, 0, 0, 64 * mebi, false},
	Requests:   {"requests", 8, 4 * mebi, 0, 0, 256 * mebi, false},
	Compaction: {"compaction", 4, 1 * mebi, 0, 0, 192 * mebi, false},
	Clients:    {"clients", 4, 1 * mebi, 0, 0, 128 * mebi, false},
}

// needed is what a kind takes for workers, and for what fills global stores.
func (k Kind) needed(workers, fillings int) int64 {
	t := table[k]
	return max(t.least, int64(workers+fillings)*t.part) + int64(fillings)*t.filling
}

// Of the limit, nine tenths are divided. A byte on the heap costs 8/5.
const (
	dividedNum, dividedDen = 9, 10
	heapNum, heapDen       = 8, 5
)

// cost is what bytes of a kind are charged.
func (k Kind) cost(bytes int64) int64 {
	if table[k].offHeap {
		return bytes
	}
	return times(bytes, heapNum, heapDen)
}

// bytes is what a charge buys.
func (k Kind) bytes(cost int64) int64 {
	if table[k].offHeap {
		return cost
	}
	return times(cost, heapDen, heapNum)
}

// times is bytes × num ÷ den, without overflow.
func times(bytes, num, den int64) int64 {
	if bytes > math.MaxInt64/num {
		return bytes / den * num
	}
	return bytes * num / den
}
