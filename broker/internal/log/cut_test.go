package log

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// TestCutsAreOfOneMoment appends to one log and then to another, and takes the first of them first, with others in
// between: the second is never ahead.
func TestCutsAreOfOneMoment(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	logs := make([]*Log, 200)
	for i := range logs {
		o := b.options()
		o.Dir = b.fs.PathJoin("/data", fmt.Sprintf("t-%d", i))
		l, err := Open(o)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, l.Close()) })
		logs[i] = l
	}
	first, last := logs[0], logs[len(logs)-1]
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		raw := plain(t, rec{key: "k"})
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, l := range []*Log{first, last} {
				if _, err := l.Append(raw); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	for n := int64(0); n < 100; n++ {
		for first.End() < 10*n {
			runtime.Gosched()
		}
		cuts, err := CutAll(logs)
		require.NoError(t, err)
		ahead := cuts[0].end - cuts[len(cuts)-1].end
		for _, c := range cuts {
			c.Release()
		}
		if ahead != 0 && ahead != 1 {
			t.Errorf("the first log is %d records ahead", ahead)
			break
		}
	}
	close(stop)
	<-done
}

// What happens between the cut and its copy, and after it, is not in the copy: appends, rolls, deletions.
func TestACopyIsOfItsMoment(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncNever)
	l := b.open()
	for range 3 {
		_, err := l.Append(plain(t, recs(10)...))
		require.NoError(t, err)
		l.mu.Lock()
		_, err = l.roll()
		l.mu.Unlock()
		require.NoError(t, err)
	}
	_, err := l.Append(plain(t, recs(5)...))
	require.NoError(t, err)
	cuts, err := CutAll([]*Log{l})
	require.NoError(t, err)
	_, err = l.Append(plain(t, recs(7)...))
	require.NoError(t, err)
	l.mu.Lock()
	_, err = l.roll()
	l.mu.Unlock()
	require.NoError(t, err)
	require.NoError(t, cuts[0].Link("/links"))
	_, err = l.TrimTo(-1)
	require.NoError(t, err)
	require.NoError(t, cuts[0].Copy(context.Background(), "/links", "/data/copy-0"))

	o := b.options()
	o.Dir = "/data/copy-0"
	c, err := Open(o)
	require.NoError(t, err)
	require.Zero(t, c.Start())
	require.EqualValues(t, 35, c.End())
	require.EqualValues(t, 42, l.Start())
	for _, offset := range []int64{0, 15, 29, 34} {
		r, err := c.Read(offset, 1<<20, ReadUncommitted)
		require.NoError(t, err)
		require.NotEmpty(t, r.Batches)
	}
	require.NoError(t, c.Close())
	require.NoError(t, l.Close())
}
