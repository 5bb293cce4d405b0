package runtime

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/align"
	"thalweg/topology"
)

// An input whose task makes no progress is left out until it makes some, or has nothing to read: what comes after that
// is waited for again from its first cut on.
func TestAnInputIsLeftOutWhileItStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		a := &app{topo: &topology.Topology{}}
		a.cfg.Alignment.Timeout = 5 * cutMost
		a.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		var s stalls
		input := align.Partition{Topic: "in", Number: 3}
		stands := map[align.Partition]align.Stand{input: {Next: 7, Time: 1}}
		note := func(waiting map[align.Partition]align.Stand, looks int) {
			for range looks {
				s.note(a, waiting)
				time.Sleep(cutMost)
			}
		}
		note(stands, 5)
		require.Empty(t, s.leftOut)
		note(stands, 1)
		require.True(t, s.leftOut[input])
		require.Equal(t, 1, strings.Count(log.String(), "topic=in partition=3 offset=7"))

		note(map[align.Partition]align.Stand{input: {Next: 8, Time: 1}}, 1)
		require.Empty(t, s.leftOut, "it goes on")
		note(stands, 7)
		require.True(t, s.leftOut[input])
		note(nil, 1)
		require.Empty(t, s.leftOut, "it has nothing to read")
	})
}
