package runtime_test

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/internal/faultfs"
	"thalweg/runtime"
	"thalweg/topology"
)

// unique adds lines of words that nobody has said before, so that the state grows.
func (h *harness) unique(name string, lines int) {
	h.t.Helper()
	var records []*kgo.Record
	for i := range lines {
		var line strings.Builder
		for j := range 500 {
			word := fmt.Sprintf("%s-%032d-%d-%d", name, h.random.Uint64(), i, j)
			h.want[word]++
			line.WriteString(word + " ")
		}
		records = append(records, kgo.KeySliceRecord(nil, []byte(line.String())))
		records[i].Topic = "lines"
	}
	h.produce(records...)
}

// fillDisk brings an application to where the disk is full and its worker waits for the engine.
func (h *harness) fillDisk(app *running, disk *faultfs.Disk) {
	h.t.Helper()
	disk.Resize(disk.UsedBytes())
	h.unique("full", 40)
	require.Eventually(h.t, func() bool {
		e := app.Stats().Engine
		return e.WaitingWrites > 0 && e.WriteStalls > 0
	}, patience, poll)
	_, err := app.View(byWord)
	require.NoError(h.t, err, "reading goes on")
}

const diskBytes = 256 << 20

// onDisk are settings of an application whose memory for the engine is soon used up.
func (h *harness) onDisk(fs vfs.FS) (runtime.Config, *faultfs.Disk) {
	disk := faultfs.NewDisk(fs, diskBytes)
	cfg := h.config()
	cfg.State.FS, cfg.Limits.BlockCacheBytesMax, cfg.State.CheckpointInterval = disk, 1<<16, 10*time.Millisecond
	return cfg, disk
}

// On a full disk an application waits, and loses nothing.
func TestAFullDiskPausesAnApplication(t *testing.T) {
	h := newHarness(t)
	cfg, disk := h.onDisk(vfs.NewMem())
	app := h.start(words(t, byWord), cfg)
	h.feed(100)
	app.caughtUp()
	h.fillDisk(app, disk)
	disk.Resize(diskBytes)
	app.caughtUp()
	require.Positive(t, app.Stats().Engine.DiskFullTime)
	// A write of a compaction may still wait for its next try.
	require.Eventually(t, func() bool { return app.Stats().Engine.WaitingWrites == 0 }, patience, poll)
	app.stop()
	app = h.start(words(t, byWord), cfg).settled()
	require.Equal(t, h.want, app.rows())
	h.feed(100)
	app.caughtUp().stop()
	h.exact()
}

// A start on a full disk says how to make space, in the directory itself too, and works after that.
func TestAStartOnAFullDisk(t *testing.T) {
	h := newHarness(t)
	cfg, disk := h.onDisk(vfs.NewMem())
	app := h.start(words(t, byWord), cfg)
	h.feed(100)
	app.caughtUp().stop()
	require.NoError(t, disk.Remove("state/wordcount/state/RESERVE"))
	disk.Resize(disk.UsedBytes())
	err := h.start(words(t, byWord), cfg).fails()
	require.ErrorContains(t, err, "no space left")
	require.ErrorContains(t, err, "free space")
	require.ErrorContains(t, err, "`thalweg state list state/wordcount`")
	require.ErrorContains(t, err, "`thalweg state drop state/wordcount -gone`")
	require.Equal(t, 1, strings.Count(err.Error(), "state directory"), "%v", err)
	disk.Resize(diskBytes)
	app = h.start(words(t, byWord), cfg).settled()
	require.Equal(t, h.want, app.rows())
	app.stop()
}

// An application that is closed while the disk is full ends in time, with an error that says so, and the next process
// goes on without a gap. In the same process the directory can't be opened again.
func TestClosingOnAFullDisk(t *testing.T) {
	h := newHarness(t)
	crashable := vfs.NewCrashableMem()
	cfg, disk := h.onDisk(crashable)
	cfg.CloseTimeout = 500 * time.Millisecond
	app := h.start(words(t, byWord), cfg)
	h.feed(100)
	app.caughtUp()
	h.fillDisk(app, disk)
	ctx, cancel := context.WithTimeout(h.ctx, patience)
	defer cancel()
	require.ErrorContains(t, app.Close(ctx), "no space left")
	err := app.fails()
	require.ErrorContains(t, err, "no space left")
	require.ErrorContains(t, err, "state/wordcount")
	require.ErrorContains(t, err, "free space")
	require.ErrorContains(t, h.start(words(t, byWord), cfg).fails(), "until its process ends")

	cfg.CloseTimeout = patience // a slow machine may take longer than before
	cfg.State.FS = crashable.CrashClone(vfs.CrashCloneCfg{})
	app = h.start(words(t, byWord), cfg)
	h.feed(100)
	app.caughtUp().stop()
	h.exact()
}

func TestStartingOnAFullDisk(t *testing.T) {
	h := newHarness(t)
	for _, left := range []int64{0, 100, 8 << 10, 1 << 20} {
		cfg, disk := h.onDisk(vfs.NewMem())
		disk.Resize(left)
		err := h.start(words(t, byWord), cfg).fails()
		require.ErrorContains(t, err, "no space left")
		require.ErrorContains(t, err, "state directory state/wordcount")
		disk.Resize(diskBytes)
		h.start(words(t, byWord), cfg).settled().stop()
	}
}

// TestDamagedInput: the application ends with an error that names the partition and the offset, and the file where it
// can; once the file is restored, nothing is missing.
func TestDamagedInput(t *testing.T) {
	for _, requests := range []bool{false, true} {
		t.Run(fmt.Sprintf("requests=%v", requests), func(t *testing.T) {
			fs := vfs.NewMem()
			h := newHarness(t, brokertest.On(fs))
			h.feed(400)
			h.reopen(fs, func() { brokertest.Flip(t, fs, "broker/lines-2/00000000000000000000.log", 100) })
			cfg := h.config()
			cfg.NoLocal = requests
			err := h.start(words(t, byWord), cfg).fails()
			require.ErrorContains(t, err, "fetch lines-2 at offset 0: ")
			require.ErrorContains(t, err, "CORRUPT_MESSAGE")
			require.ErrorContains(t, err, "to go on at offset ")
			if !requests {
				require.ErrorContains(t, err, "lines-2/00000000000000000000.log is damaged at byte 0")
				require.ErrorContains(t, err, "restore the file")
			}
			h.reopen(fs, func() { brokertest.Flip(t, fs, "broker/lines-2/00000000000000000000.log", 100) })
			cfg.Broker = h.broker
			h.start(words(t, byWord), cfg).caughtUp().stop()
			h.exact()
		})
	}
}

// TestSkippingDamage: the policy passes over the batch that is damaged and over nothing else, in an input and in a
// changelog, whether the damage is in the records or in the header.
func TestSkippingDamage(t *testing.T) {
	for _, c := range []struct {
		requests bool
		at       int64
	}{{false, 100}, {true, 100}, {false, 8}, {true, 16}} {
		t.Run(fmt.Sprintf("requests=%v/byte=%d", c.requests, c.at), func(t *testing.T) {
			fs := vfs.NewMem()
			h := newHarness(t, brokertest.On(fs))
			h.feed(400)
			ends, err := h.admin.ListEndOffsets(h.ctx, "lines")
			require.NoError(t, err)
			h.feed(400)
			first, _ := ends.Lookup("lines", 2)
			for _, r := range h.read("lines") {
				if r.Partition == 2 && r.Offset < first.Offset {
					for word := range strings.FieldsSeq(string(r.Value)) {
						if h.want[word]--; h.want[word] == 0 {
							delete(h.want, word)
						}
						h.total--
					}
				}
			}
			h.reopen(fs, func() { brokertest.Flip(t, fs, "broker/lines-2/00000000000000000000.log", c.at) })
			cfg := h.config()
			cfg.NoLocal, cfg.Errors.Decode = c.requests, topology.Skip
			h.start(words(t, byWord), cfg).caughtUp().stop()
			h.exact()

			const changelog = "broker/wordcount-by-word-changelog-1/00000000000000000000.log"
			h.reopen(fs, func() { brokertest.Flip(t, fs, changelog, c.at) })
			cfg.Broker, cfg.State.FS, cfg.Errors.Decode = h.broker, vfs.NewMem(), nil
			require.ErrorContains(t, h.start(words(t, byWord), cfg).fails(), "to go on at offset ")
			cfg.Errors.Decode = topology.Skip
			h.start(words(t, byWord), cfg).settled().stop()
		})
	}
}

// What lies in the state is nobody else's to read, as in Kafka Streams.
func TestTheStateIsClosedToOthers(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	cfg.State.FS, cfg.State.Dir = nil, filepath.Join(t.TempDir(), "deep", "state")
	h.feed(10)
	h.start(words(t, byWord), cfg).caughtUp().stop()
	directories := 0
	require.NoError(t, filepath.WalkDir(filepath.Dir(cfg.State.Dir), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			info, err := d.Info()
			require.NoError(t, err)
			require.Zero(t, info.Mode()&0o027, "%s %v", path, info.Mode())
			directories++
		}
		return err
	}))
	require.GreaterOrEqual(t, directories, 4)
}
