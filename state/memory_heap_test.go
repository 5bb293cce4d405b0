package state

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state/engine"
)

var heapRows = flag.Int("heap-rows", 40_000, "rows of the tests that compare the accounting with the heap")

// forgetful is an engine that keeps nothing, so that the heap holds what the stores do.
type forgetful struct{ engine.Engine }

type forgottenBatch struct{ engine.Batch }

func (forgetful) Get(dst, _ []byte) ([]byte, bool, error) { return dst, false, nil }
func (forgetful) GetSorted([][]byte, func(int, []byte) error) error {
	return nil
}
func (forgetful) Iterate([]byte, []byte) (engine.Iterator, error) { return nothing{}, nil }
func (forgetful) NewBatch(int) engine.Batch                       { return forgottenBatch{} }
func (forgetful) Failed() error                                   { return nil }
func (forgottenBatch) Set(_, _ []byte) error                      { return nil }
func (forgottenBatch) Delete([]byte) error                        { return nil }
func (forgottenBatch) DeleteRange(_, _ []byte) error              { return nil }
func (forgottenBatch) Commit() error                              { return nil }
func (forgottenBatch) Close() error                               { return nil }

type nothing struct{ engine.Iterator }

func (nothing) First() bool  { return false }
func (nothing) Last() bool   { return false }
func (nothing) Error() error { return nil }
func (nothing) Close() error { return nil }

// heapBytes is what is alive on the heap.
func heapBytes() int64 {
	goruntime.GC()
	goruntime.GC()
	var m goruntime.MemStats
	goruntime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// filling puts n rows into a store of a Tx.
type filling func(t *testing.T, tx *Tx, n int)

func fill[V any](name string, keyBytes int, value func(i int) V) filling {
	return func(t *testing.T, tx *Tx, n int) {
		st, err := NewKV[[]byte, V](name).Open(tx)
		require.NoError(t, err)
		key := make([]byte, keyBytes)
		for i := range n {
			binary.BigEndian.PutUint64(key[keyBytes-8:], uint64(i)*0x9e3779b97f4a7c15)
			require.NoError(t, st.Put(key, value(i), int64(i)))
			if i%50_000 == 49_999 {
				commitAll(t, tx)
			}
		}
	}
}

type account struct {
	Name   string
	Orders []int64
}

var fillings = map[string]filling{
	"16 + 100 bytes": fill("bytes", 16, func(i int) []byte { return fmt.Appendf(make([]byte, 90), "%010d", i) }),
	"16 + int64":     fill("numbers", 16, func(i int) int64 { return int64(i) }),
	"60 + 1000 bytes": fill("long", 60, func(i int) []byte {
		return fmt.Appendf(make([]byte, 990), "%010d", i)
	}),
	"16 + structs": fill("structs", 16, func(i int) account {
		return account{fmt.Sprintf("name-%010d", i), []int64{int64(i), 2, 3, 4}}
	}),
}

// TestAccountingIsReal compares what the stores say that they hold with how the heap has grown: while rows are dirty,
// when they are in the engine, and when they were all overwritten.
func TestAccountingIsReal(t *testing.T) {
	for name, fill := range fillings {
		t.Run(name, func(t *testing.T) {
			for n := *heapRows; n >= 1000; n /= 9 {
				before := heapBytes()
				budget := NewBudget(1 << 40)
				tx := NewTx(Config{Engine: forgetful{}, Namespace: Namespace(0), Budget: budget, CheckpointCommits: -1})
				check := func(when string) {
					tx.measure()
					grown, counted := heapBytes()-before, tx.used
					t.Logf("%d rows, %s: the heap has %d bytes a row, %d are counted", n, when, grown/int64(n), counted/int64(n))
					tolerance := 0.05 + 30_000/float64(grown)
					if strings.Contains(name, "structs") { // what objects point to is guessed
						tolerance = 0.4
					}
					require.InDelta(t, 1, float64(counted)/float64(grown), tolerance, "%d rows, %s: %d bytes of heap, %d counted",
						n, when, grown, counted)
				}
				fill(t, tx, n)
				check("dirty")
				commitAll(t, tx)
				require.NoError(t, tx.Checkpoint())
				require.NoError(t, tx.shrink())
				check("clean")
				fill(t, tx, n)
				commitAll(t, tx)
				require.NoError(t, tx.Checkpoint())
				require.NoError(t, tx.shrink())
				check("overwritten")
				goruntime.KeepAlive(tx)
				require.NoError(t, tx.Close())
				require.Zero(t, budget.UsedBytes())
			}
		})
	}
}

// TestTheBudgetHolds writes and reads many times what fits, in one task and in many: after each commit the rows are
// within the budget, by the accounting and on the heap.
func TestTheBudgetHolds(t *testing.T) {
	const rows, commitRows = 60_000, 2000
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, c := range []struct {
		tasks int
		most  int64
	}{{1, 1 << 20}, {1, 3 << 20}, {40, 4 << 20}} {
		tasks, most := c.tasks, c.most
		r := rand.New(rand.NewPCG(seed, 5))
		before := heapBytes()
		budget := NewBudget(most)
		var txs []*Tx
		var stores []*KVStore[[]byte, []byte]
		for range tasks {
			tx := NewTx(Config{Engine: forgetful{}, Namespace: Namespace(0), Budget: budget, CheckpointCommits: -1})
			st, err := NewKV[[]byte, []byte]("rows").Open(tx)
			require.NoError(t, err)
			txs, stores = append(txs, tx), append(stores, st)
		}
		early, worst := 0, int64(0)
		for i := range rows {
			n := r.IntN(tasks)
			key := fmt.Appendf(nil, "key-%012d", r.IntN(rows))
			_, _, _, err := stores[n].Get(key)
			require.NoError(t, err)
			require.NoError(t, stores[n].Put(key, make([]byte, 50+r.IntN(100)), 1))
			worst = max(worst, budget.UsedBytes())
			if !txs[n].CacheFull() && i%commitRows != commitRows-1 {
				continue
			}
			if txs[n].CacheFull() {
				early++
			}
			for _, tx := range txs {
				commitAll(t, tx)
			}
			for _, tx := range txs {
				require.NoError(t, tx.Relieve())
			}
			if used := budget.UsedBytes(); used > most {
				t.Fatalf("seed %d, %d tasks: %d bytes of %d after a commit", seed, tasks, used, most)
			}
		}
		grown := heapBytes() - before
		t.Logf("%d tasks, %d bytes: %d held, %d at most meanwhile, %d on the heap, %d early commits", tasks, most,
			budget.UsedBytes(), worst, grown, early)
		require.Less(t, grown, most*11/10+int64(tasks)*2000, "seed %d", seed)
		require.Less(t, worst, most*13/10, "seed %d", seed)
		require.Greater(t, budget.UsedBytes(), most/2, "the budget is used")
		require.Less(t, early, rows/500, "seed %d", seed)
		goruntime.KeepAlive(txs)
	}
}
