package pebble_test

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/faultfs"
	"thalweg/state/engine"
	"thalweg/state/pebble"
)

// filled is an engine with rows on a disk that can fail; nothing is cached.
func filled(t *testing.T) (*pebble.Engine, *faultfs.FS) {
	fs := faultfs.New(vfs.NewMem())
	e := open(t, fs)
	require.NoError(t, put(e, 0, 2000))
	require.NoError(t, e.Close())
	return open(t, fs), fs
}

func put(e *pebble.Engine, from, to int) error {
	b := e.NewBatch(0)
	for i := from; i < to; i++ {
		if err := b.Set(fmt.Appendf(nil, "key%06d", i), fmt.Appendf(nil, "value of %d", i)); err != nil {
			return err
		}
	}
	return b.Commit()
}

func failure(t *testing.T, err error) *engine.Failure {
	t.Helper()
	var f *engine.Failure
	require.ErrorAs(t, err, &f)
	require.Equal(t, "state", f.Dir)
	require.ErrorContains(t, err, "state engine in state failed")
	require.ErrorContains(t, err, "remove the directory")
	return f
}

// Damage is an error of each call that meets it, and of all later ones. Nothing panics, not even Close.
func TestWrongBytes(t *testing.T) {
	calls := map[string]func(e *pebble.Engine) error{
		"get": func(e *pebble.Engine) error {
			_, _, err := e.Get(nil, []byte("key000100"))
			return err
		},
		"sorted": func(e *pebble.Engine) error {
			return e.GetSorted([][]byte{[]byte("key000100"), []byte("key000200")}, func(int, []byte) error { return nil })
		},
		"iterate": func(e *pebble.Engine) error {
			it, err := e.Iterate(nil, nil)
			if err != nil {
				return err
			}
			for ok := it.First(); ok; ok = it.Next() {
			}
			err = it.Error()
			_ = it.Close()
			return err
		},
		"snapshot": func(e *pebble.Engine) error {
			s, err := e.Snapshot()
			if err != nil {
				return err
			}
			_, _, err = s.Get(nil, []byte("key000100"))
			_ = s.Close()
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			e, fs := filled(t)
			require.NoError(t, e.Failed())
			fs.WrongBytes(".sst")
			first := failure(t, call(e))
			require.ErrorContains(t, first, "damaged")
			fs.WrongBytes("")
			for _, call := range calls {
				require.Same(t, first, failure(t, call(e)), "what was wrong once is not trusted again")
			}
			require.Same(t, first, failure(t, put(e, 0, 1)))
			require.Same(t, first, failure(t, e.Failed()))
			_ = e.Close()
		})
	}
}
