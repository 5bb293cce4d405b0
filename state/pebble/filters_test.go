package pebble

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/memory"
)

// lines are what was logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) with(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// An engine whose filters do not fit into its memory says so, with the memory that would do, and not again and again.
func TestFiltersThatDoNotFit(t *testing.T) {
	const rows, least = 30_000, 30_000 * filterBitsPerKey / 8
	const warning = "do not fit"
	fs := vfs.NewMem()
	open := func(bytesMax int64) (*Engine, *lines) {
		log := new(lines)
		e, err := Open("state", Options{
			FS: fs, Memory: memory.NewShare(memory.Engine, bytesMax), Logger: slog.New(slog.NewTextHandler(log, nil)),
		})
		require.NoError(t, err)
		return e, log
	}
	e, log := open(least)
	b := e.NewBatch(0)
	for n := range rows {
		require.NoError(t, b.Set(fmt.Appendf(nil, "key%05d", n), []byte("value")))
	}
	require.NoError(t, b.Commit())
	require.NoError(t, e.Flush())
	counted, size, err := e.filterBytes()
	require.NoError(t, err)
	require.EqualValues(t, rows, counted)
	require.Greater(t, size, int64(least))
	for range 3 {
		e.filters.compare(e.dir, counted, size)
	}
	require.Equal(t, 1, log.with(warning))
	require.Equal(t, 1, log.with(fmt.Sprintf(`"bytes needed"=%d`, 2*size)))
	e.filters.compare(e.dir, 2*counted, 2*size)
	require.Equal(t, 2, log.with(warning))
	require.NoError(t, e.Close())

	e, log = open(least)
	require.Eventually(t, func() bool { return log.with(warning) == 1 }, time.Minute, time.Millisecond)
	require.NoError(t, e.Close())
	e, log = open(2 * size)
	e.filters.compare(e.dir, counted, size)
	require.Zero(t, log.with(warning), "what was said to be needed does")
	require.NoError(t, e.Close())
}
