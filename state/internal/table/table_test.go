package table

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// number is what these tables keep.
func number(t *Table, e *Entry) *int64 { return (*int64)(t.Payload(e)) }

func randomKey(r *rand.Rand, keys int) []byte {
	n := r.IntN(keys)
	switch n % 4 {
	case 0:
		return fmt.Appendf(nil, "k%d", n)
	case 1:
		return fmt.Appendf(nil, "a-key-%022d", n) // 28 bytes
	case 2:
		return fmt.Appendf(nil, "a-key-that-is-too-long-for-its-entry-%d", n)
	default:
		return fmt.Appendf(nil, "a-key-%022d%c", n/2, byte(n)) // 21 bytes
	}
}

func TestTableEqualsMap(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 0))
	table := New(maphash.MakeSeed(), 0, 8)
	model := map[string]int64{}
	for step := range 60_000 {
		key := randomKey(r, 1+r.IntN(6000))
		hash := table.Hash(key)
		index, found := table.Find(hash, key)
		want, has := model[string(key)]
		require.Equal(t, has, found, "seed %d step %d", seed, step)
		if found {
			require.Equal(t, want, *number(table, table.At(index)))
			require.Equal(t, string(key), string(table.Key(table.At(index))))
		}
		switch {
		case found && r.IntN(2) == 0:
			table.Delete(index)
			delete(model, string(key))
		case !found:
			index = table.Insert(hash, key)
			fallthrough
		default:
			*number(table, table.At(index)) = int64(step)
			model[string(key)] = int64(step)
		}
		if step%1000 == 0 {
			table.Compact()
			checkAll(t, table, model)
		}
	}
}

func checkAll(t *testing.T, table *Table, model map[string]int64) {
	t.Helper()
	require.Equal(t, len(model), table.Len())
	table.All(func(_ uint32, e *Entry) bool {
		value, ok := model[string(table.Key(e))]
		require.True(t, ok)
		require.Equal(t, value, *number(table, e))
		return true
	})
}

func TestEvictTakesOnlyUnusedCleanEntries(t *testing.T) {
	table := New(maphash.MakeSeed(), 0, 8)
	for i := range 100 {
		key := fmt.Appendf(nil, "%d", i)
		index := table.Insert(table.Hash(key), key)
		switch i % 3 {
		case 0:
			table.At(index).Mark(DirtyCheckpoint)
		case 1:
			table.At(index).Mark(Used)
		}
	}
	never := func(*Entry) bool { return false }
	freed := 0
	count := func(*Entry) { freed++ }
	require.Equal(t, 33, table.Evict(100, 100, never, count))
	require.Equal(t, 33, table.Evict(100, 100, never, count), "the second time round, use is forgotten")
	require.Equal(t, 0, table.Evict(100, 1000, never, count))
	require.Equal(t, 66, freed)
	require.Equal(t, 34, table.Len())
}

func TestSortOrdersByKey(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(seed, 1))
	for _, prefix := range []string{"", "common-prefix-", strings.Repeat("x", 40)} {
		table := New(maphash.MakeSeed(), 0, 8)
		var indexes []uint32
		for range 3000 {
			key := append([]byte(prefix), randomKey(r, 1<<20)...)
			if r.IntN(3) == 0 {
				key = append([]byte(prefix), byte(r.IntN(3)), byte(r.IntN(2)), byte(r.IntN(3)))[:len(prefix)+r.IntN(4)]
			}
			if _, found := table.Find(table.Hash(key), key); !found {
				indexes = append(indexes, table.Insert(table.Hash(key), key))
			}
		}
		want := slices.Clone(indexes)
		slices.SortFunc(want, table.Compare)
		var s Sorter
		Sort(&s, table, indexes)
		require.True(t, slices.Equal(want, indexes), "seed %d prefix %q", seed, prefix)
		Sort(&s, table, indexes[:10])
		require.True(t, slices.Equal(want, indexes))
	}
}

func TestEachWalksKeysThatDifferInTheirEnd(t *testing.T) {
	seed := maphash.MakeSeed()
	table := New(seed, 2, 8)
	for i := range 500 {
		key := fmt.Appendf(nil, "%d-%02d", i/7, i%7)
		table.Insert(table.Hash(key), key)
	}
	other := []byte("3-0-00") // its head begins with another's
	table.Insert(table.Hash(other), other)
	var got []string
	table.Each(maphash.Bytes(seed, []byte("3-")), []byte("3-"), func(_ uint32, key []byte) bool {
		got = append(got, string(key))
		return true
	})
	slices.Sort(got)
	require.Equal(t, []string{"3-00", "3-01", "3-02", "3-03", "3-04", "3-05", "3-06"}, got)
}

func TestTouchMeetsTheKeys(t *testing.T) {
	table := New(maphash.MakeSeed(), 0, 8)
	key := func(i int) []byte { return fmt.Appendf(nil, "key-%d", i) }
	for i := range 10_000 {
		table.Insert(table.Hash(key(i)), key(i))
	}
	for i := 0; i < 10_000; i += 3 {
		index, _ := table.Find(table.Hash(key(i)), key(i))
		table.Delete(index)
	}
	var near [TouchMost]*Entry
	for from := 0; from < 12_000; from += TouchMost {
		var hashes []uint64
		want := 0
		for i := from; i < from+TouchMost; i++ {
			hashes = append(hashes, table.Hash(key(i)))
			if i < 10_000 && i%3 != 0 {
				want++
			}
		}
		n, _ := table.Touch(hashes, &near)
		require.GreaterOrEqual(t, n, want) // hashes may be nearly the same
		met := map[string]bool{}
		for _, e := range near[:n] {
			met[string(table.Key(e))] = true
		}
		for i := from; i < from+TouchMost; i++ {
			require.True(t, i >= 10_000 || i%3 == 0 || met[string(key(i))], i)
		}
	}
}

func BenchmarkUpsert(b *testing.B) {
	for _, keys := range []int{10_000, 1_000_000} {
		table := New(maphash.MakeSeed(), 0, 8)
		all := make([][]byte, keys)
		for i := range all {
			all[i] = fmt.Appendf(nil, "key-%012d", i)
			table.Insert(table.Hash(all[i]), all[i])
		}
		r := rand.New(rand.NewPCG(1, 2))
		order := make([]byte, 16*(1<<20)) // streamed, as input is
		for i := range 1 << 20 {
			copy(order[16*i:], all[r.IntN(keys)])
		}
		b.Run(fmt.Sprintf("keys=%d/single", keys), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				at := i & (1<<20 - 1)
				key := order[16*at : 16*at+16]
				index, _ := table.Find(table.Hash(key), key)
				*number(table, table.At(index))++
			}
		})
		b.Run(fmt.Sprintf("keys=%d/touched", keys), func(b *testing.B) {
			var hashes [TouchMost]uint64
			var near [TouchMost]*Entry
			var sum uint32
			for i := 0; b.Loop(); i++ {
				at := i & (1<<20 - 1)
				if at&63 == 0 {
					for j := range hashes {
						hashes[j] = table.Hash(order[16*(at+j) : 16*(at+j)+16])
					}
					_, read := table.Touch(hashes[:], &near)
					sum += read
				}
				key := order[16*at : 16*at+16]
				index, _ := table.Find(hashes[at&63], key)
				*number(table, table.At(index))++
			}
			_ = sum
		})
	}
}
