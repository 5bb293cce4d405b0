package log

import (
	"context"
	"errors"
	"maps"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/faultfs"
)

// fewFiles opens logs that share four descriptors, and whose writes are synced when they have to be, not by time.
func fewFiles(t *testing.T, n int) []*Log {
	t.Helper()
	fs := vfs.NewMem()
	require.NoError(t, fs.MkdirAll("/data", 0o755))
	syncer := NewSyncer(SyncerOptions{Mode: SyncOS, AfterFunc: func(time.Duration, func()) func() bool {
		return func() bool { return true }
	}})
	return openMany(t, faultfs.New(fs), "/data", n, syncer, NewFiles(4))
}

// touch uses a file of each log.
func touch(t *testing.T, logs []*Log) {
	t.Helper()
	for _, l := range logs {
		_, err := l.checkpoints.file.pin()
		require.NoError(t, err)
		l.checkpoints.file.unpin()
	}
}

// unsynced returns which logs have files with unsynced writes, and how many each.
func unsynced(f *Files) map[*Log]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.written)
}

func TestFilesWithUnsyncedWritesStayOpen(t *testing.T) {
	logs := fewFiles(t, 10)
	files := logs[0].options.Files
	appendTo(t, logs[:2])
	first, second := logs[0].active().file.opened, logs[1].active().file.opened
	require.NotNil(t, first)
	touch(t, logs)
	require.Equal(t, 4, files.Open())
	require.Same(t, first, logs[0].active().file.opened)
	require.Same(t, second, logs[1].active().file.opened)
	require.Zero(t, logs[0].Durable())

	appendTo(t, logs[2:3]) // half of the descriptors have unsynced writes: it waits until one has none
	require.LessOrEqual(t, len(unsynced(files)), 2)
	require.NoError(t, logs[0].fsync())
	require.NoError(t, logs[1].fsync())
	touch(t, logs)
	require.Nil(t, logs[0].active().file.opened)
	appendTo(t, logs)
	withinLimit := func() bool { return files.Open() <= 4 }
	require.Eventually(t, withinLimit, time.Minute, time.Millisecond)
	logs[0].options.Syncer.ScheduleSync(logs...) // readers see it
	for i, l := range logs {
		l.tail.clear()
		want := 1
		if i < 3 {
			want = 2
		}
		require.Len(t, values(t, l, ReadUncommitted, 100), want)
	}
}

// A log that fails does not keep the others waiting for its descriptors.
func TestAFailedLogHasNoUnsyncedFiles(t *testing.T) {
	logs := fewFiles(t, 6)
	fs := logs[0].options.FS.(*faultfs.FS)
	appendTo(t, logs[:2])
	fs.Fail(&faultfs.Fault{Path: "t-0", Err: context.DeadlineExceeded})
	require.Error(t, logs[0].fsync())
	fs.Fail(nil)
	appendTo(t, logs[1:])
	require.NotContains(t, unsynced(logs[0].options.Files), logs[0])
}

// What was written is not in a file that was put in its place, nor in an empty one.
func TestAFileThatIsGoneIsNotMadeAgain(t *testing.T) {
	logs := fewFiles(t, 10)
	appendTo(t, logs[:1])
	require.NoError(t, logs[0].fsync())
	touch(t, logs)
	require.Nil(t, logs[0].active().file.opened)
	name := logs[0].active().path(logSuffix)
	require.NoError(t, logs[0].options.FS.Remove(name))
	_, err := logs[0].Append(plain(t, recs(1)...))
	require.ErrorContains(t, err, name)
	require.ErrorContains(t, err, "0 bytes long")
}

// A file that can't be opened because descriptors are short is not damaged: no reader may pass over it.
func TestAShortageOfDescriptorsIsNoDamage(t *testing.T) {
	logs := fewFiles(t, 10)
	l, fs := logs[0], logs[0].options.FS.(*faultfs.FS)
	appendTo(t, logs[:1])
	require.NoError(t, l.fsync())
	l.tail.clear()
	touch(t, logs)
	require.Nil(t, l.active().file.opened)
	fs.Fail(&faultfs.Fault{Path: "t-0", Err: syscall.EMFILE})
	_, err := l.Read(0, 100, ReadUncommitted)
	require.ErrorIs(t, err, syscall.EMFILE)
	require.NotErrorIs(t, err, kerr.CorruptMessage)
	fs.Fail(nil)
	require.Len(t, values(t, l, ReadUncommitted, 100), 1)
}

// Whatever made a log fail, its descriptors are for the others.
func TestALogThatFailsLetsItsFilesGo(t *testing.T) {
	logs := fewFiles(t, 3)
	appendTo(t, logs[:2])
	for _, l := range logs[:2] {
		l.fail(errors.New("compaction could not replace a segment"))
	}
	appendTo(t, logs[2:])
}
