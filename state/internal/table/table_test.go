package table

import (
	"bytes"
	"encoding/binary"
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
			table.Compact(r.IntN(2) == 0)
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
		slices.SortFunc(want, func(a, b uint32) int {
			return bytes.Compare(table.Key(table.At(a)), table.Key(table.At(b)))
		})
		var s Sorter
		Sort(&s, table, indexes)
		require.True(t, slices.Equal(want, indexes), "seed %d prefix %q", seed, prefix)
		Sort(&s, table, indexes[:10])
		require.True(t, slices.Equal(want, indexes))
	}
}

// Few heads have many entries each: they become crowds, and go again.
func TestCrowdsEqualMap(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	hashes := maphash.MakeSeed()
	table := New(hashes, 2, 8)
	model := map[string]bool{}
	most := 0
	for step := range 60_000 {
		tail := []byte{byte(r.IntN(256)), byte(r.IntN(256))}
		head := fmt.Appendf(nil, "head-%d", r.IntN(1+r.IntN(300)))
		key := append(slices.Clone(head), tail...)
		hash := table.Hash(key)
		index, found := table.Find(hash, key)
		require.Equal(t, model[string(key)], found, "step %d", step)
		insert := step/20_000 != 1 // the table grows, shrinks and grows
		switch {
		case found && !insert:
			table.Delete(index)
			delete(model, string(key))
		case !insert && len(model) > 0 && table.count > 0:
			none := func(*Entry) bool { return false }
			table.Evict(2, table.count, none, func(e *Entry) { delete(model, string(table.Key(e))) })
		case !found && insert:
			table.Insert(hash, key)
			model[string(key)] = true
		}
		most = max(most, len(table.crowds))
		if step%500 != 0 {
			continue
		}
		from, to := []byte{byte(r.IntN(128)), 0}, []byte{byte(128 + r.IntN(128)), 9}
		want, got := map[string]bool{}, map[string]bool{}
		for k := range model {
			if n := len(k) - 2; k[:n] == string(head) && k[n:] >= string(from) && k[n:] <= string(to) {
				want[k] = true
			}
		}
		table.Range(maphash.Bytes(hashes, head), head, from, to, func(_ uint32, key []byte) bool {
			if tail := string(key[len(key)-2:]); tail >= string(from) && tail <= string(to) {
				got[string(key)] = true
			}
			return true
		})
		require.Equal(t, want, got, "step %d", step)
		checkCount(t, table, len(model))
	}
	require.Greater(t, most, 10)
	table.Reset()
	require.Empty(t, table.crowds)
}

func checkCount(t *testing.T, table *Table, want int) {
	t.Helper()
	n := 0
	table.All(func(uint32, *Entry) bool { n++; return true })
	require.Equal(t, want, n)
	require.Equal(t, want, table.Len())
}

// One head with many entries costs no more per entry than one with few.
func TestCrowdIsNotPassed(t *testing.T) {
	hashes := maphash.MakeSeed()
	table := New(hashes, 4, 8)
	head := []byte("head")
	for i := range uint32(20_000) {
		key := binary.BigEndian.AppendUint32(slices.Clone(head), i)
		hash := table.Hash(key)
		_, found := table.Find(hash, key)
		require.False(t, found)
		table.Insert(hash, key)
		passed := table.Range(maphash.Bytes(hashes, head), head, key[4:], []byte{255, 255, 255, 255},
			func(uint32, []byte) bool { return true })
		require.LessOrEqual(t, passed, 2*crowdProbes)
	}
	longest, run := 0, 0
	for _, slot := range table.slots {
		if run++; slot == 0 {
			run = 0
		}
		longest = max(longest, run)
	}
	require.Less(t, longest, 200)
}

func TestRangeWalksKeysThatDifferInTheirEnd(t *testing.T) {
	seed := maphash.MakeSeed()
	table := New(seed, 2, 8)
	for i := range 500 {
		key := fmt.Appendf(nil, "%d-%02d", i/7, i%7)
		table.Insert(table.Hash(key), key)
	}
	other := []byte("3-0-00") // its head begins with another's
	table.Insert(table.Hash(other), other)
	var got []string
	last := []byte{255, 255}
	table.Range(maphash.Bytes(seed, []byte("3-")), []byte("3-"), nil, last, func(_ uint32, key []byte) bool {
		got = append(got, string(key))
		return true
	})
	slices.Sort(got)
	require.Equal(t, []string{"3-00", "3-01", "3-02", "3-03", "3-04", "3-05", "3-06"}, got)
}

func TestPrefetchMeetsTheKeys(t *testing.T) {
	table := New(maphash.MakeSeed(), 0, 8)
	key := func(i int) []byte { return fmt.Appendf(nil, "key-%d", i) }
	for i := range 10_000 {
		table.Insert(table.Hash(key(i)), key(i))
	}
	for i := 0; i < 10_000; i += 3 {
		index, _ := table.Find(table.Hash(key(i)), key(i))
		table.Delete(index)
	}
	var near [PrefetchMax]*Entry
	for from := 0; from < 12_000; from += PrefetchMax {
		var hashes []uint64
		want := 0
		for i := from; i < from+PrefetchMax; i++ {
			hashes = append(hashes, table.Hash(key(i)))
			if i < 10_000 && i%3 != 0 {
				want++
			}
		}
		n, _ := table.Prefetch(hashes, &near)
		require.GreaterOrEqual(t, n, want) // hashes may be nearly the same
		met := map[string]bool{}
		for _, e := range near[:n] {
			met[string(table.Key(e))] = true
		}
		for i := from; i < from+PrefetchMax; i++ {
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
		b.Run(fmt.Sprintf("keys=%d/prefetched", keys), func(b *testing.B) {
			var hashes [PrefetchMax]uint64
			var near [PrefetchMax]*Entry
			var sum uint32
			for i := 0; b.Loop(); i++ {
				at := i & (1<<20 - 1)
				if at&63 == 0 {
					for j := range hashes {
						hashes[j] = table.Hash(order[16*(at+j) : 16*(at+j)+16])
					}
					_, read := table.Prefetch(hashes[:], &near)
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
