package runtime_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/state/pebble"
	"thalweg/stream"
	"thalweg/topology"
)

// lastTexts keeps the last value of each key as text, where others count.
func lastTexts(t *testing.T) *topology.Topology {
	t.Helper()
	return last(t, state.NewKV[string, string](byWord.Name()), func(line string) string { return line })
}

func last[V any](t *testing.T, store state.KV[string, V], of func(line string) V) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	b.Stream(stream.NewTopic[string, string]("lines")).GroupByKey().
		Aggregate(store, func() (none V) { return none }, func(_, line string, _ V) V { return of(line) })
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// nameless is a serde whose format nobody knows.
type nameless struct{ serde.Int64 }

func (nameless) Format() string { return "" }

// A store whose values are of another type than those in its rows does not start, with its directory or without.
func TestAStoreWithValuesInAnotherFormatIsRefused(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	counts := countInto(t, "lines", "", byWord)
	require.Equal(t, keyCounts(1), h.count(counts, cfg))
	ends := h.ends(byWordChangelog)
	for _, c := range []struct {
		topo *topology.Topology
		says string
	}{
		{lastTexts(t), "values written as string"},
		{countInto(t, "lines", "", byWord.Values(serde.JSON[int64]())), "values written as json int64"},
		{countInto(t, "lines", "", byWord.Keys(serde.JSON[string]())), "keys written as json string"},
	} {
		require.Equal(t, ends, h.ends(byWordChangelog), "nothing was written")
		for _, fs := range []vfs.FS{cfg.State.FS, vfs.NewMem()} {
			other := cfg
			other.State.FS = fs
			err := h.start(c.topo, other).fails()
			require.ErrorContains(t, err, "store by-word of application wordcount is a store with keys written as string and "+
				"values written as int64, which topic "+byWordChangelog+" has the rows of")
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "give the store the serdes that it had")
		}
	}
	require.Equal(t, keyCounts(2), h.count(counts, cfg), "nothing was changed")
}

// A serde without a name matches what there is, and state without names gets those of the program.
func TestFormatsWithoutANameMatchAny(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	log := loggedTo(&cfg)
	unnamed := countInto(t, "lines", "", byWord.Values(nameless{}))
	require.Equal(t, keyCounts(1), h.count(unnamed, cfg)) // as an older build writes it
	require.Equal(t, keyCounts(2), h.count(countInto(t, "lines", "", byWord), cfg))
	require.ErrorContains(t, h.start(lastTexts(t), cfg).fails(), "values written as int64")
	require.Equal(t, keyCounts(3), h.count(unnamed, cfg), "the program says that it reads both")
	require.NotContains(t, log.String(), "store by-word was")
}

// withoutFormats is a position row of by-word as the build before the names of formats wrote it.
func withoutFormats(row []byte) []byte {
	row = slices.Clone(bytes.TrimSuffix(row, []byte("\x06string\x05int64")))
	row[8] = 2
	return row
}

// The rows of a build that wrote no names of formats are taken as they are, and named.
func TestPositionsWithoutFormatsAreTakenOver(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	counts := countInto(t, "lines", "", byWord)
	require.Equal(t, keyCounts(1), h.count(counts, cfg))
	written := int32(0) // of the only key
	for p, end := range h.ends(byWordChangelog) {
		if end > 0 {
			written = p
		}
	}
	rewrite := func(partition int32, change func(row []byte) []byte) {
		e, err := pebble.Open("state/wordcount/state", pebble.Options{FS: cfg.State.FS})
		require.NoError(t, err)
		key := rowKey(partition, byWord.Name(), 0)
		row, _, err := e.Get(nil, key)
		require.NoError(t, err)
		b := e.NewBatch(0)
		require.NoError(t, b.Set(key, change(row)))
		require.NoError(t, b.Commit())
		require.NoError(t, e.Close())
	}
	rewrite(written, withoutFormats)
	h.writeFile(cfg.State.FS, "state/wordcount/state/STATE_FORMAT", []byte{3})
	h.remove("wordcount-progress")
	log := loggedTo(&cfg)
	require.Equal(t, keyCounts(2), h.count(counts, cfg))
	require.NotContains(t, log.String(), "store by-word")
	rewrite(written, func(row []byte) []byte {
		require.Contains(t, string(row), "int64", "it is named now")
		return row
	})
	h.remove("wordcount-progress") // the copies alone tell
	require.ErrorContains(t, h.start(lastTexts(t), cfg).fails(), "values written as int64")
}

type (
	remark  struct{ Text string }
	renamed struct{ Text string }
)

// A type may get another name, or more fields. That is said once.
func TestATypeThatIsRenamedIsSaidOnce(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	before := last(t, state.NewKV[string, remark]("remarks"), func(line string) remark { return remark{line} })
	store := state.NewKV[string, renamed]("remarks")
	after := last(t, store, func(line string) renamed { return renamed{line} })
	h.produce(lineOf(0, "old"))
	h.start(before, cfg).caughtUp().stop()
	for _, times := range []int{1, 0} {
		log := loggedTo(&cfg)
		app := h.start(after, cfg).settled()
		view, err := app.View(store)
		require.NoError(t, err)
		row, _, ok, err := store.Read(view.Reader).Get("0")
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, renamed{"old"}, row)
		view.Close()
		app.stop()
		require.Equal(t, times, strings.Count(log.String(), "values written as msgpack runtime_test.remark"), log.String())
	}
}
