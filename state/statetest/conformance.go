// Package statetest holds what every state engine must pass.
package statetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state/engine"
)

// Conformance tests an engine against the contract. open returns an empty engine each time.
func Conformance(t *testing.T, open func(t *testing.T) engine.Engine) {
	for name, test := range map[string]func(*testing.T, engine.Engine){
		"get":       testGet,
		"sorted":    testGetSorted,
		"iterate":   testIterate,
		"batch":     testBatch,
		"ingest":    testIngest,
		"snapshot":  testSnapshot,
		"ownership": testOwnership,
		"closed":    testClosed,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func apply(t *testing.T, e engine.Engine, change func(b engine.Batch) error) {
	t.Helper()
	b := e.NewBatch(0)
	require.NoError(t, change(b))
	require.NoError(t, b.Commit())
	require.NoError(t, b.Close(), "closing after the commit does nothing")
}

func fill(t *testing.T, e engine.Engine, keys ...string) {
	t.Helper()
	apply(t, e, func(b engine.Batch) error {
		for _, key := range keys {
			if err := b.Set([]byte(key), []byte("value of "+key)); err != nil {
				return err
			}
		}
		return nil
	})
}

func collect(t *testing.T, r engine.Reader, lower, upper []byte) []string {
	t.Helper()
	it, err := r.Iterate(lower, upper)
	require.NoError(t, err)
	keys := []string{}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		require.NoError(t, err)
		require.Equal(t, "value of "+string(it.Key()), string(value))
		keys = append(keys, string(it.Key()))
	}
	back := []string{}
	for ok := it.Last(); ok; ok = it.Prev() {
		back = append(back, string(it.Key()))
	}
	slices.Reverse(back)
	require.Equal(t, keys, back)
	require.NoError(t, it.Error())
	require.NoError(t, it.Close())
	return keys
}

func testGet(t *testing.T, e engine.Engine) {
	fill(t, e, "a", "c")
	value, ok, err := e.Get([]byte("head "), []byte("a"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "head value of a", string(value))
	value, ok, err = e.Get([]byte("head "), []byte("b"))
	require.NoError(t, err)
	require.False(t, ok)
	require.Equal(t, "head ", string(value))
	apply(t, e, func(b engine.Batch) error { return b.Set([]byte("empty"), nil) })
	value, ok, err = e.Get(nil, []byte("empty"))
	require.NoError(t, err)
	require.True(t, ok, "an empty value is a value")
	require.Empty(t, value)
	require.NoError(t, e.Close())
}

// sorted looks up ascending keys in one pass, and returns those that are there.
func sorted(t *testing.T, r engine.Reader, keys ...string) []string {
	t.Helper()
	encoded := make([][]byte, len(keys))
	for i, key := range keys {
		encoded[i] = []byte(key)
	}
	found := []string{}
	require.NoError(t, r.GetSorted(encoded, func(i int, value []byte) error {
		require.Equal(t, "value of "+keys[i], string(value))
		found = append(found, keys[i])
		return nil
	}))
	return found
}

func testGetSorted(t *testing.T, e engine.Engine) {
	require.Empty(t, sorted(t, e))
	require.Empty(t, sorted(t, e, "a", "b"))
	fill(t, e, "a", "aa", "b", "b\x00", "d")
	require.Equal(t, []string{"a", "b\x00", "d"}, sorted(t, e, "", "a", "aaa", "b\x00", "c", "d", "e"))
	require.Equal(t, []string{"a", "aa", "b"}, sorted(t, e, "a", "aa", "ab", "b"))
	apply(t, e, func(b engine.Batch) error {
		return errors.Join(b.Set([]byte("empty"), nil), b.Delete([]byte("aa")), b.DeleteRange([]byte("c"), []byte("e")))
	})
	require.NoError(t, e.GetSorted([][]byte{[]byte("empty")}, func(i int, value []byte) error {
		require.Zero(t, i)
		require.Empty(t, value)
		return nil
	}))
	require.Equal(t, []string{"a", "b"}, sorted(t, e, "a", "aa", "b", "d"))
	calls, cause := 0, errors.New("enough")
	require.ErrorIs(t, e.GetSorted([][]byte{[]byte("a"), []byte("b")}, func(int, []byte) error {
		calls++
		return cause
	}), cause)
	require.Equal(t, 1, calls)
	require.NoError(t, e.Failed(), "it is not the engine's error")
	require.NoError(t, e.Close())
}

func testIterate(t *testing.T, e engine.Engine) {
	keys := []string{"a", "aa", "ab", "b", "ba", "c\x00", "c\xff", "\xff\xff"}
	fill(t, e, keys...)
	require.Equal(t, keys, collect(t, e, nil, nil))
	require.Equal(t, []string{"ab", "b"}, collect(t, e, []byte("ab"), []byte("ba")))
	require.Empty(t, collect(t, e, []byte("d"), []byte("e")))
	require.Equal(t, []string{"a"}, collect(t, e, nil, []byte("aa")))
	it, err := e.Iterate([]byte("aa"), []byte("c"))
	require.NoError(t, err)
	fill(t, e, "aaa") // not seen by the iterator
	for seek, want := range map[string][2]string{
		"": {"aa", ""}, "aa": {"aa", ""}, "aab": {"ab", "aa"}, "b": {"b", "ab"}, "bb": {"", "ba"}, "zz": {"", "ba"},
	} {
		require.Equal(t, want[0] != "", it.SeekGE([]byte(seek)), "seek %q", seek)
		if want[0] != "" {
			require.Equal(t, want[0], string(it.Key()))
		}
		require.Equal(t, want[1] != "", it.SeekLT([]byte(seek)), "seek below %q", seek)
		if want[1] != "" {
			require.Equal(t, want[1], string(it.Key()))
		}
	}
	require.True(t, it.SeekGE([]byte("b")))
	require.True(t, it.Prev())
	require.Equal(t, "ab", string(it.Key()))
	require.True(t, it.Next())
	require.True(t, it.Next())
	require.Equal(t, "ba", string(it.Key()))
	require.False(t, it.Next())
	require.NoError(t, it.Close())
	require.NoError(t, e.Close())
}

func testBatch(t *testing.T, e engine.Engine) {
	fill(t, e, "a", "b", "c", "d", "e")
	b := e.NewBatch(100)
	require.NoError(t, b.Set([]byte("c"), []byte("lost")))
	require.NoError(t, b.DeleteRange([]byte("b"), []byte("d")))
	require.NoError(t, b.Set([]byte("bb"), []byte("value of bb")))
	require.NoError(t, b.Delete([]byte("e")))
	require.NoError(t, b.Delete([]byte("nothing")))
	require.Positive(t, b.SizeBytes())
	require.Equal(t, []string{"a", "b", "c", "d", "e"}, collect(t, e, nil, nil), "nothing before the commit")
	require.NoError(t, b.Commit())
	require.Equal(t, []string{"a", "bb", "d"}, collect(t, e, nil, nil))
	require.Error(t, b.Commit(), "a batch is committed once")
	dropped := e.NewBatch(0)
	require.NoError(t, dropped.Set([]byte("x"), nil))
	require.NoError(t, dropped.Close())
	require.Error(t, dropped.Commit())
	require.Equal(t, []string{"a", "bb", "d"}, collect(t, e, nil, nil))
	large := e.NewBatch(0)
	for i := range 30_000 {
		require.NoError(t, large.Set(fmt.Appendf(nil, "k%06d", i), bytes.Repeat([]byte{'v'}, 200)))
	}
	require.NoError(t, large.Commit())
	value, ok, err := e.Get(nil, []byte("k012345"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Len(t, value, 200)
	require.NoError(t, e.Flush())
	m := e.Metrics()
	require.Positive(t, m.MemoryBytes+m.DiskBytes)
	require.NoError(t, e.Close())
}

func testIngest(t *testing.T, e engine.Engine) {
	fill(t, e, "a", "b", "c")
	require.NoError(t, e.Ingest(func(rows engine.Rows) error {
		key, value := []byte("b"), []byte("value of b")
		require.NoError(t, rows.Delete([]byte("a")))
		require.NoError(t, rows.Set(key, value))
		copy(key, "d")
		copy(value, "value of d")
		return rows.Set(key, value) // the first was copied
	}))
	require.Equal(t, []string{"b", "c", "d"}, collect(t, e, nil, nil))
	stop := errors.New("stop")
	require.ErrorIs(t, e.Ingest(func(rows engine.Rows) error {
		require.NoError(t, rows.Set([]byte("e"), nil))
		return stop
	}), stop)
	require.NoError(t, e.Ingest(func(engine.Rows) error { return nil }))
	require.Equal(t, []string{"b", "c", "d"}, collect(t, e, nil, nil), "what fails, or gives nothing, changes nothing")
	require.NoError(t, e.Close())
}

func testSnapshot(t *testing.T, e engine.Engine) {
	fill(t, e, "a", "b")
	s, err := e.Snapshot()
	require.NoError(t, err)
	apply(t, e, func(b engine.Batch) error { return b.Delete([]byte("a")) })
	fill(t, e, "c")
	require.Equal(t, []string{"a", "b"}, collect(t, s, nil, nil))
	require.Equal(t, []string{"b", "c"}, collect(t, e, nil, nil))
	require.Equal(t, []string{"a", "b"}, sorted(t, s, "a", "b", "c"))
	require.Equal(t, []string{"b", "c"}, sorted(t, e, "a", "b", "c"))
	_, ok, err := s.Get(nil, []byte("a"))
	require.NoError(t, err)
	require.True(t, ok)
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Close(), engine.ErrClosed)
	require.ErrorIs(t, s.GetSorted([][]byte{[]byte("a")}, nil), engine.ErrClosed)
	require.NoError(t, e.Close())
}

func testOwnership(t *testing.T, e engine.Engine) {
	key, value := []byte("key"), []byte("value")
	b := e.NewBatch(0)
	require.NoError(t, b.Set(key, value))
	copy(key, "???")
	copy(value, "YYYYY")
	require.NoError(t, b.Commit())
	got, ok, err := e.Get(nil, []byte("key"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "value", string(got))
	copy(got, "ZZZZZ") // the caller's
	got, _, err = e.Get(nil, []byte("key"))
	require.NoError(t, err)
	require.Equal(t, "value", string(got))
	require.NoError(t, e.Close())
}

func testClosed(t *testing.T, e engine.Engine) {
	require.NoError(t, e.Close())
	_, _, err := e.Get(nil, []byte("a"))
	require.ErrorIs(t, err, engine.ErrClosed)
	require.ErrorIs(t, e.GetSorted([][]byte{[]byte("a")}, nil), engine.ErrClosed)
	require.ErrorIs(t, e.Ingest(func(engine.Rows) error { return nil }), engine.ErrClosed)
	_, err = e.Iterate(nil, nil)
	require.ErrorIs(t, err, engine.ErrClosed)
	_, err = e.Snapshot()
	require.ErrorIs(t, err, engine.ErrClosed)
	require.ErrorIs(t, e.Flush(), engine.ErrClosed)
	b := e.NewBatch(0)
	_ = b.Set([]byte("a"), nil)
	require.ErrorIs(t, b.Commit(), engine.ErrClosed)
	require.ErrorIs(t, e.Close(), engine.ErrClosed)
}
