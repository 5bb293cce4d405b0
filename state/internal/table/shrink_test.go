package table

import (
	"hash/maphash"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A table that is shrunk again and again holds what a map does, in no more memory than a sixteenth of spare chunks.
func TestShrink(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 2))
	table := New(maphash.MakeSeed(), 0, 8)
	model := map[string]int64{}
	for round := range 25 {
		most := 1 + r.IntN(1<<(2+r.IntN(12)))
		for range r.IntN(2 * most) {
			key := randomKey(r, 1<<16)
			index, found := table.Find(table.Hash(key), key)
			if !found {
				index = table.Insert(table.Hash(key), key)
			}
			value := r.Int64()
			*number(table, table.At(index)), model[string(key)] = value, value
		}
		for key := range model {
			if len(model) <= most {
				break
			}
			index, found := table.Find(table.Hash([]byte(key)), []byte(key))
			if !found {
				t.Fatalf("seed %d round %d: key %q is lost", seed, round, key)
			}
			table.Delete(index)
			delete(model, key)
		}
		before := map[uint32]int64{}
		table.All(func(index uint32, e *Entry) bool {
			before[index] = *number(table, e)
			return true
		})
		table.Shrink(func(from, to uint32) {
			if _, used := before[to]; used || *number(table, table.At(to)) != before[from] {
				t.Fatalf("seed %d round %d: entry %d is moved to %d", seed, round, from, to)
			}
		})
		checkAll(t, table, model)
		for key := range model {
			if _, found := table.Find(table.Hash([]byte(key)), []byte(key)); !found {
				t.Fatalf("seed %d round %d: key %q is lost", seed, round, key)
			}
		}
		entry := int64(table.words) * 8
		entries := table.Bytes() - int64(len(table.slots))*8 - int64(table.arenaBytes) - arenaChunkBytes
		require.LessOrEqual(t, entries, max(4*int64(len(model)+firstChunk)*entry, int64(len(model))*entry*17/16+2*chunkBytes),
			"seed %d round %d: %d rows", seed, round, len(model))
	}
}
