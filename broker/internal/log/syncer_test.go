package log

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/faultfs"
)

// openMany opens n logs below dir.
func openMany(t *testing.T, fs vfs.FS, dir string, n int, syncer *Syncer, files *Files) []*Log {
	t.Helper()
	b := &bench{t: t}
	logs := make([]*Log, n)
	for i := range logs {
		l, err := Open(Options{
			FS: fs, Dir: fs.PathJoin(dir, fmt.Sprintf("t-%d", i)), Topic: "t", Partition: int32(i), Now: b.clock,
			Syncer: syncer, Files: files,
		})
		require.NoError(t, err)
		t.Cleanup(func() { _ = l.Close() })
		logs[i] = l
	}
	return logs
}

func appendTo(t *testing.T, logs []*Log) {
	t.Helper()
	for _, l := range logs {
		_, err := l.AppendNoSync(plain(t, recs(1)...), OriginClient, false)
		require.NoError(t, err)
	}
}

// More logs than are synced side by side are synced by one call.
func TestManyLogsShareOneFsync(t *testing.T) {
	dir := t.TempDir()
	whole, release, err := OpenWholeFS(vfs.Default, dir)
	require.NoError(t, err)
	defer func() { require.NoError(t, release()) }()
	if whole == nil {
		t.Skip("this system can't sync a whole file system")
	}
	syncer := NewSyncer(SyncerOptions{WholeFS: whole, Parallel: 4})
	logs := openMany(t, vfs.Default, dir, 5, syncer, nil)
	appendTo(t, logs)
	before := syncer.Fsyncs().Count
	syncer.ScheduleSync(logs...)
	for _, l := range logs {
		require.NoError(t, l.WaitDurable(context.Background(), 0))
	}
	require.Equal(t, before+1, syncer.Fsyncs().Count)
}

// A failure of the call for all is the failure of those logs whose files can't be synced.
func TestAFailureOfTheSharedFsync(t *testing.T) {
	fs := faultfs.New(vfs.NewMem())
	broken := false
	syncer := NewSyncer(SyncerOptions{Parallel: 4, WholeFS: func() error {
		if broken {
			return errors.New("some file could not be written")
		}
		return nil
	}})
	require.NoError(t, fs.MkdirAll("/data", 0o755))
	logs := openMany(t, fs, "/data", 5, syncer, nil)
	appendTo(t, logs)
	broken = true
	fs.Fail(&faultfs.Fault{Path: "t-3", Err: errors.New("bad sector")})
	syncer.ScheduleSync(logs...)
	for i, l := range logs {
		err := l.WaitDurable(context.Background(), 0)
		if i == 3 {
			isKafka(t, kerr.KafkaStorageError, err)
			require.ErrorContains(t, err, "bad sector")
			continue
		}
		require.NoError(t, err)
	}
	fs.Fail(nil)
}

// Logs that become dirty while the whole file system is synced are synced side by side after it, not one by one.
func TestLogsAreSyncedSideBySideAfterASharedFsync(t *testing.T) {
	const parallel = 4
	var opened atomic.Bool
	var abreast sync.WaitGroup
	abreast.Add(parallel)
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind != errorfs.OpFileSyncData || !opened.Load() {
			return nil
		}
		abreast.Done()
		all := make(chan struct{})
		go func() { abreast.Wait(); close(all) }()
		select {
		case <-all:
			return nil
		case <-time.After(time.Minute):
			return errors.New("it is synced alone")
		}
	}))
	require.NoError(t, fs.MkdirAll("/data", 0o755))
	began, dirty := make(chan struct{}), make(chan struct{})
	syncer := NewSyncer(SyncerOptions{Parallel: parallel, WholeFS: func() error {
		close(began)
		<-dirty
		return nil
	}})
	logs := openMany(t, fs, "/data", parallel+1, syncer, nil)
	opened.Store(true)
	appendTo(t, logs)
	syncer.ScheduleSync(logs...)
	<-began
	again := logs[:parallel]
	appendTo(t, again)
	syncer.ScheduleSync(again...)
	close(dirty)
	for _, l := range again {
		require.NoError(t, l.WaitDurable(context.Background(), 1))
	}
	opened.Store(false)
}

// An fsync that finds a file closed has not synced it.
func TestAnFsyncDuringACloseMakesNothingDurable(t *testing.T) {
	b := newBench(t, vfs.NewMem(), SyncGroup)
	l := b.open()
	_, err := l.AppendNoSync(plain(t, recs(1)...), OriginClient, false)
	require.NoError(t, err)
	f, err := l.beginFsync()
	require.NoError(t, err)
	require.NoError(t, l.Release())
	require.ErrorIs(t, f.finish(f.sync()), ErrClosed)
	require.Zero(t, l.Durable())
}
