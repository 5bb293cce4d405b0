package pebble

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/faultfs"
	"thalweg/internal/invariant"
	"thalweg/state/engine"
)

// patience bounds what a test waits for.
const patience = time.Minute

type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Split(strings.TrimSpace(l.buf.String()), "\n")
}

func openOn(t *testing.T, fs vfs.FS, to io.Writer) *Engine {
	t.Helper()
	e, err := openWith("state", Options{
		FS: fs, MemtableBytes: 64 << 10, Logger: slog.New(slog.NewTextHandler(to, nil)),
	}, func(o *pebble.Options) { o.MaxManifestFileSize = 1 }) // a new manifest, most of the time
	require.NoError(t, err)
	return e
}

func putRows(e *Engine, from, to int) error {
	b := e.NewBatch(0)
	for i := from; i < to; i++ {
		if err := b.Set(fmt.Appendf(nil, "key%06d", i), fmt.Appendf(nil, "value of %d", i)); err != nil {
			return err
		}
	}
	return b.Commit()
}

func requireRows(t *testing.T, e *Engine, rows int) {
	t.Helper()
	it, err := e.Iterate(nil, nil)
	require.NoError(t, err)
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		require.Equal(t, fmt.Sprintf("key%06d", n), string(it.Key()))
		n++
	}
	require.NoError(t, it.Error())
	require.NoError(t, it.Close())
	require.Equal(t, rows, n)
}

// write puts rows and flushes them, several times, and tells the end.
func write(e *Engine, flushes int) chan error {
	ended := make(chan error, 1)
	go func() {
		var err error
		for i := 0; err == nil && i < flushes; i++ {
			if err = putRows(e, 100*i, 100*(i+1)); err == nil {
				err = e.Flush()
			}
		}
		ended <- err
	}()
	return ended
}

// faults are one for each file that Pebble writes and each way to fail.
func faults(err error) map[string]*faultfs.Fault {
	kinds := map[string]func(k errorfs.OpKind) bool{
		"write":  func(k errorfs.OpKind) bool { return k == errorfs.OpFileWrite },
		"sync":   func(k errorfs.OpKind) bool { return k == errorfs.OpFileSync || k == errorfs.OpFileSyncData },
		"create": func(k errorfs.OpKind) bool { return k == errorfs.OpCreate || k == errorfs.OpReuseForWrite },
	}
	all := map[string]*faultfs.Fault{}
	for kind, is := range kinds {
		all["manifest "+kind] = &faultfs.Fault{Path: "MANIFEST", Kind: is, Err: err}
		all["table "+kind] = &faultfs.Fault{Path: ".sst", Kind: is, Err: err}
	}
	all["marker create"] = &faultfs.Fault{Path: "marker.manifest", Kind: kinds["create"], Err: err}
	all["directory sync"] = &faultfs.Fault{Dir: "state", Kind: kinds["sync"], Err: err}
	return all
}

// Whatever a full disk, or a full share of it, refuses: writing waits, and resumes. Reading continues meanwhile.
func TestAFullDiskIsNoError(t *testing.T) {
	for _, number := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT} {
		for name, fault := range faults(number) {
			t.Run(fmt.Sprintf("%d %s", number, name), func(t *testing.T) {
				t.Parallel()
				crashable := vfs.NewCrashableMem()
				fs := faultfs.New(crashable)
				log := &logBuffer{}
				e := openOn(t, fs, log)
				began := time.Now()
				fs.Fail(fault)
				ended := write(e, 10)
				require.Eventually(t, func() bool { return e.Metrics().WaitingWrites > 0 && fault.Hits.Load() > 2 }, patience,
					time.Millisecond)
				_, _, err := e.Get(nil, []byte("key000000"))
				require.NoError(t, err)
				require.Empty(t, ended)
				fs.Fail(nil)
				require.NoError(t, <-ended)
				require.Eventually(t, func() bool { return e.Metrics().WaitingWrites == 0 }, patience, time.Millisecond)
				require.Positive(t, e.Metrics().DiskFullTime)
				require.NoError(t, e.Failed())
				require.LessOrEqual(t, len(log.lines()), int(time.Since(began)/time.Second)+1, "%v", log.lines())
				require.Contains(t, log.lines()[0], "the disk is full")
				after := crashable.CrashClone(vfs.CrashCloneCfg{}) // what was flushed is durable
				requireRows(t, e, 1000)
				require.NoError(t, e.Close())
				e = openOn(t, after, io.Discard)
				requireRows(t, e, 1000)
				require.NoError(t, e.Close())
			})
		}
	}
}

// While a disk is so full that the reserve file fits and nothing else does, the log does not say that it is over.
func TestAFullDiskStaysFullInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &logBuffer{}
		e := &Engine{dir: "state", dead: make(chan struct{})}
		s := newSpaceFS(vfs.NewMem(), e, slog.New(slog.NewTextHandler(log, nil)))
		require.NoError(t, s.inner.MkdirAll("state", 0o750))
		s.opening.Store(false)
		var full atomic.Bool
		full.Store(true)
		ended := make(chan error)
		go func() {
			ended <- s.attempt(false, func() error {
				if full.Load() {
					return syscall.ENOSPC
				}
				return nil
			})
		}()
		time.Sleep(2 * time.Minute)
		lines := log.lines()
		require.NotContains(t, strings.Join(lines, ""), "space again")
		require.Greater(t, len(lines), 3)
		require.Less(t, len(lines), 12)
		full.Store(false)
		require.NoError(t, <-ended)
		time.Sleep(2 * spaceCalm)
		lines = log.lines()
		require.Contains(t, lines[len(lines)-1], "space again")
		require.Equal(t, 1, strings.Count(strings.Join(lines, ""), "space again"))
		s.stop()
	})
}

// Any other error ends the engine, and nothing else: each call returns, with the directory and what to do, and nothing
// is written any more.
func TestAnyOtherErrorEndsTheEngine(t *testing.T) {
	for name, fault := range faults(syscall.EIO) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs, log := faultfs.New(vfs.NewMem()), &logBuffer{}
			e := openOn(t, fs, log)
			require.NoError(t, <-write(e, 2))
			fs.Fail(fault)
			var f *engine.Failure
			select {
			case err := <-write(e, 100):
				require.ErrorAs(t, err, &f)
			case <-time.After(patience):
				require.Fail(t, "a write waits for ever")
			}
			require.Equal(t, "state", f.Dir)
			require.ErrorIs(t, f, syscall.EIO)
			require.ErrorContains(t, f, "state engine in state failed")
			require.ErrorContains(t, f, "remove the directory")
			require.Len(t, log.lines(), 1, "%v", log.lines())
			hits := fault.Hits.Load()
			_, _, err := e.Get(nil, []byte("key000000"))
			require.Same(t, f, err)
			require.Same(t, f, putRows(e, 0, 1))
			require.Same(t, f, e.Flush())
			require.Same(t, f, e.Close())
			require.Equal(t, hits, fault.Hits.Load(), "nothing is tried again")
		})
	}
}

// On a disk that is really full the manifest is written into the reserve, and tables do not take its place.
func TestTheReserve(t *testing.T) {
	disk := faultfs.NewDisk(vfs.NewMem(), 64<<20)
	e := openOn(t, disk, io.Discard)
	require.Greater(t, disk.UsedBytes(), int64(reserveBytes))
	require.NoError(t, <-write(e, 10))
	disk.Resize(disk.UsedBytes() + 100) // for a part of a table
	ended := write(e, 20)
	require.Eventually(t, func() bool { return e.Metrics().WaitingWrites > 0 }, patience, time.Millisecond)
	// The reserve is free, but for the moments in which the engine tries to make it again.
	require.Eventually(t, func() bool { return disk.UsedBytes() < reserveBytes }, patience, time.Millisecond)
	marker, err := e.space.Create("state/MANIFEST-999999", vfs.WriteCategoryUnspecified) // as Pebble does
	require.NoError(t, err)
	_, err = marker.Write(make([]byte, reserveBytes/2))
	require.NoError(t, err)
	require.NoError(t, marker.Sync())
	require.NoError(t, marker.Close())
	require.NoError(t, e.space.Remove("state/MANIFEST-999999"))
	require.Empty(t, ended)
	disk.Resize(64 << 20)
	require.NoError(t, <-ended)
	info, err := disk.Stat("state/" + reserveFile)
	require.NoError(t, err)
	require.EqualValues(t, reserveBytes, info.Size(), "made again")
	requireRows(t, e, 2000)
	require.NoError(t, e.Close())
	requireRows(t, openOn(t, disk, io.Discard), 2000)
}

func TestOpenOnAFullDisk(t *testing.T) {
	for _, left := range []int64{0, 8 << 10, reserveBytes - 1, reserveBytes + 10} {
		t.Run(fmt.Sprint(left), func(t *testing.T) {
			disk := faultfs.NewDisk(vfs.NewMem(), left)
			_, err := Open("state", Options{FS: disk})
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.ErrorContains(t, err, "no space left")
			require.ErrorContains(t, err, "state directory state")
			require.ErrorContains(t, err, "free space")
			disk.Resize(64 << 20)
			e := openOn(t, disk, io.Discard)
			require.NoError(t, <-write(e, 2))
			require.NoError(t, e.Close())
		})
	}
}

// Whatever a full disk refuses of an open, a further one in the same process finds the directory unlocked.
func TestOpenAgainAfterAFullDisk(t *testing.T) {
	if invariant.Enabled {
		t.Skip("an open of Pebble that fails does not release its cache, and Pebble ends such a build for that")
	}
	for _, isNew := range []bool{true, false} {
		for step, failed := 0, true; failed; step++ {
			var full atomic.Bool
			var writes atomic.Int64
			fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
				if full.Load() && faultfs.Writes(op.Kind) && writes.Add(1) > int64(step) {
					return syscall.ENOSPC
				}
				return nil
			}))
			if !isNew {
				e := openOn(t, fs, io.Discard)
				require.NoError(t, <-write(e, 20))
				require.NoError(t, e.Close())
			}
			full.Store(true)
			e, err := Open("state", Options{FS: fs})
			full.Store(false)
			if failed = err != nil; failed {
				require.ErrorIs(t, err, syscall.ENOSPC, "step %d", step)
				e, err = Open("state", Options{FS: fs})
				require.NoError(t, err, "step %d", step)
			}
			require.NoError(t, e.Close())
		}
	}
}

// After StopWaiting each call that waits for space gets a failure.
func TestStopWaiting(t *testing.T) {
	for _, before := range []bool{false, true} {
		t.Run(fmt.Sprintf("before=%v", before), func(t *testing.T) {
			disk := faultfs.NewDisk(vfs.NewMem(), 64<<20)
			e := openOn(t, disk, io.Discard)
			disk.Resize(0)
			if before {
				e.StopWaiting()
				require.NoError(t, e.Failed(), "it does not wait")
			}
			ended := write(e, 20)
			if !before {
				require.Eventually(t, func() bool { return e.Metrics().WaitingWrites > 0 }, patience, time.Millisecond)
				e.StopWaiting()
			}
			err := <-ended
			require.True(t, engine.IsFailure(err))
			require.ErrorIs(t, err, syscall.ENOSPC)
			require.ErrorContains(t, err, "free space")
			require.ErrorContains(t, e.Close(), "no space left")
		})
	}
}

// An engine without a reserve waits for files that are being deleted: theirs is the space that it has left.
func TestADropWaitsForDeletions(t *testing.T) {
	for _, path := range []string{".sst", "MANIFEST"} {
		t.Run(path, func(t *testing.T) {
			fs := faultfs.New(vfs.NewMem())
			e := openOn(t, fs, io.Discard)
			require.NoError(t, <-write(e, 100))
			require.NoError(t, e.Close())
			e, err := Open("state", Options{FS: fs, NoReserve: true})
			require.NoError(t, err)
			b := e.NewBatch(0)
			require.NoError(t, b.Set([]byte("key0"), []byte("value")))
			require.NoError(t, b.Commit())
			fault := &faultfs.Fault{
				Path: path, Kind: func(op errorfs.OpKind) bool { return op == errorfs.OpFileWrite }, Once: true,
				Err: syscall.ENOSPC,
			}
			fs.Fail(fault)
			require.NoError(t, e.Drop(t.Context(), Range{[]byte("key"), []byte("kez")}))
			require.EqualValues(t, 1, fault.Hits.Load())
			require.NoError(t, e.Close())
			requireRows(t, openOn(t, fs, io.Discard), 0)
		})
	}
}

// Tables that callers write wait like Pebble's, and the caller gets an answer when the engine ends.
func TestIngestOnAFullDisk(t *testing.T) {
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprintf("stopped=%v", stopped), func(t *testing.T) {
			disk := faultfs.NewDisk(vfs.NewMem(), 64<<20)
			e := openOn(t, disk, io.Discard)
			disk.Resize(0)
			ended := make(chan error, 1)
			go func() {
				ended <- e.Ingest(func(rows engine.Rows) error {
					for i := range 1000 {
						if err := rows.Set(fmt.Appendf(nil, "key%06d", i), []byte("value")); err != nil {
							return err
						}
					}
					return nil
				})
			}()
			require.Eventually(t, func() bool { return e.Metrics().WaitingWrites > 0 }, patience, time.Millisecond)
			require.Empty(t, ended)
			if stopped {
				e.StopWaiting()
				err := <-ended
				require.True(t, engine.IsFailure(err))
				require.ErrorIs(t, err, syscall.ENOSPC)
				require.ErrorContains(t, e.Close(), "no space left")
				return
			}
			disk.Resize(64 << 20)
			require.NoError(t, <-ended)
			requireRows(t, e, 1000)
			require.NoError(t, e.Close())
		})
	}
}

// Opening never waits: it fails, with the directory and what to do.
func TestOpenOnADiskThatFails(t *testing.T) {
	for _, number := range []syscall.Errno{syscall.ENOSPC, syscall.EIO} {
		for name, fault := range faults(number) {
			if name[:5] == "table" {
				continue // there is none to write
			}
			t.Run(fmt.Sprintf("%d %s", number, name), func(t *testing.T) {
				fs := faultfs.New(vfs.NewMem())
				e := openOn(t, fs, io.Discard)
				require.NoError(t, <-write(e, 2))
				require.NoError(t, e.Close())
				fs.Fail(fault)
				_, err := Open("state", Options{FS: fs})
				require.ErrorContains(t, err, "state directory state")
				if number == syscall.ENOSPC {
					require.ErrorContains(t, err, "no space left")
					require.ErrorContains(t, err, "free space")
				} else {
					require.ErrorContains(t, err, "remove the directory state")
				}
			})
		}
	}
}

// Of several goroutines that meet an error one logs it.
func TestAFailureIsLoggedOnce(t *testing.T) {
	for range 20 {
		log := &logBuffer{}
		e := openOn(t, vfs.NewMem(), log)
		begin := make(chan struct{})
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				<-begin
				e.giveUp(syscall.EIO)
			})
		}
		close(begin)
		all.Wait()
		require.Len(t, log.lines(), 1)
	}
}
