package runtime_test

import (
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/faultfs"
	"thalweg/runtime"
	"thalweg/state/engine"
	"thalweg/topology"
)

// Damage of the state is not the fault of the records that meet it: the application stops, whatever the policy, and
// says where the state is and what to do. Nothing is committed, and no dead letter written.
func TestDamagedState(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			h := newHarness(t)
			h.create(1, "dead")
			fs := faultfs.New(vfs.NewMem())
			cfg := h.config()
			cfg.State.FS, cfg.Guarantee, cfg.Limits.BlockCacheBytesMax = fs, guarantee, 1
			cfg.Errors = topology.Errors{
				Process: topology.Skip, Encode: topology.DeadLetter, Decode: topology.Skip, DeadLetters: "dead",
			}
			app := h.start(words(t, byWord), cfg)
			h.feed(200)
			app.caughtUp().stop()
			app = h.start(words(t, byWord), cfg).settled()
			fs.WrongBytes(".sst")
			h.feed(50)
			err := app.fails()
			require.ErrorContains(t, err, "state/wordcount/state")
			require.ErrorContains(t, err, "remove the directory")
			require.Equal(t, 1, strings.Count(err.Error(), "the state engine in"), "%v", err)
			require.True(t, engine.IsFailure(err))
			var pe *topology.ProcessingError
			require.NotErrorAs(t, err, &pe, "no record is to blame")
			require.Empty(t, h.read("dead"))
			fs.WrongBytes("")
			require.NoError(t, fs.RemoveAll("state/wordcount/state"))
			app = h.start(words(t, byWord), cfg)
			app.caughtUp().stop()
			if guarantee == runtime.ExactlyOnce {
				h.exact()
			} else {
				h.atLeast()
			}
		})
	}
}

// What an operator of the application sees where the directory is damaged at the start.
func TestAStateDirectoryThatCannotBeOpened(t *testing.T) {
	for name, damage := range map[string]func(t *testing.T, fs vfs.FS){
		"a file": func(t *testing.T, fs vfs.FS) {
			require.NoError(t, fs.RemoveAll("state/wordcount/state"))
			f, err := fs.Create("state/wordcount/state", vfs.WriteCategoryUnspecified)
			require.NoError(t, err)
			require.NoError(t, f.Close())
		},
		"no manifest": func(t *testing.T, fs vfs.FS) { removeAll(t, fs, "MANIFEST") },
		"no tables":   func(t *testing.T, fs vfs.FS) { removeAll(t, fs, ".sst") },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			cfg := h.config()
			cfg.Errors = topology.Errors{Process: topology.Skip}
			app := h.start(words(t, byWord), cfg)
			h.feed(100)
			app.caughtUp().stop()
			damage(t, cfg.State.FS)
			app = h.start(words(t, byWord), cfg)
			h.feed(100)
			err := app.fails()
			require.ErrorContains(t, err, "state/wordcount")
			require.ErrorContains(t, err, "remove")
			require.Equal(t, 1, strings.Count(err.Error(), "restored from"), "%v", err)
		})
	}
}

func removeAll(t *testing.T, fs vfs.FS, part string) {
	names, err := fs.List("state/wordcount/state")
	require.NoError(t, err)
	removed := 0
	for _, name := range names {
		if len(name) >= len(part) && (name[:len(part)] == part || name[len(name)-len(part):] == part) {
			require.NoError(t, fs.Remove(fs.PathJoin("state/wordcount/state", name)))
			removed++
		}
	}
	require.Positive(t, removed)
}
