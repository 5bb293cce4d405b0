package runtime_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
	"thalweg/topology"
)

// large sends records whose rows no changelog takes, and one that is small.
func (h *harness) large(cfg *runtime.Config) {
	h.t.Helper()
	cfg.Limits.RecordBytesMax = 2000
	for i := range 3 {
		key := strings.Repeat(string(rune('a'+i)), 3000)
		h.produce(&kgo.Record{Topic: "lines", Partition: 0, Key: []byte(key), Value: []byte("v")})
	}
	h.produce(&kgo.Record{Topic: "lines", Key: []byte("k"), Value: []byte("v")})
}

// Rows that are too large for the changelog are dropped where the policy says so, and the log says it once.
func TestRowsThatAreDroppedAreLogged(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	cfg.Errors.Encode = topology.Skip
	log := loggedTo(&cfg)
	h.large(&cfg)
	app := h.start(countInto(t, "lines", "", byWord), cfg).caughtUp()
	require.Equal(t, keyCounts(1), app.rows())
	app.stop()
	for _, what := range []string{"node=count times=1", "node=counts times=1"} { // of the store, and of the sink
		line := lineWith(t, log, what)
		require.Contains(t, line, "WARN")
		require.Contains(t, line, "a row or a result can't be written and is dropped")
		require.Contains(t, line, "over the limit of 2000")
	}
}

// The error of a row that is too large names all topics that may have to take larger records.
func TestARowThatIsTooLargeNamesTheTopics(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	h.large(&cfg)
	err := h.start(countInto(t, "lines", "", byWord), cfg).fails()
	require.ErrorContains(t, err, "over the limit of 2000")
	require.ErrorContains(t, err, "The task writes to "+byWordChangelog+", counts: each of them")
}
