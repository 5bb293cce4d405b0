package pebble

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/state/engine"
)

// fatalReader meets what Pebble calls fatal when an iterator is opened: a table's file that is gone, for instance.
type fatalReader struct {
	pebble.Reader
	log *log
}

func (r fatalReader) NewIter(*pebble.IterOptions) (*pebble.Iterator, error) {
	r.log.Fatalf("a table is gone")
	return nil, nil
}

// A fatal error in a call is the error of that call. It does not end the caller's goroutine.
func TestFatalInACallReturns(t *testing.T) {
	for name, call := range map[string]func(*Engine, pebble.Reader) error{
		"look up": func(e *Engine, r pebble.Reader) error {
			return e.getSorted(r, [][]byte{[]byte("key")}, func(int, []byte) error { return nil })
		},
		"iterate": func(e *Engine, r pebble.Reader) error {
			_, err := e.iterate(r, nil, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := openOn(t, vfs.NewMem(), t.Output())
			err := call(e, fatalReader{log: e.tables.Logger.(*log)})
			require.True(t, engine.IsFailure(err))
			require.ErrorContains(t, err, "a table is gone")
		})
	}
}
