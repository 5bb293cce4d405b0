package oracle

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// surprises are scenarios that Kafka Streams gets wrong, and what comes out here: records as key=value@timestamp, and
// the input item that brought each.
var surprises = map[string][]string{
	// A null key is joined with nothing; it does not stop the application.
	"S-01-grace-null-key": {"~=x|~@2 by 1", "a=y|1@3 by 3"},
	// Final results are not lost, however long the gap in the traffic and however short the retention.
	"S-02-close-gap": {"a@0/10=2@5 by 2", "a@10/20=1@12 by 3", "a@20/30=1@25 by 4", "a@40/50=1@47 by 5"},
	"S-02-close-gap-sliding": {
		"a@0/5=2@5 by 2", "a@2/7=1@5 by 2", "a@7/12=1@12 by 3", "a@20/25=1@25 by 4", "a@42/47=1@47 by 5",
		"a@45/50=2@50 by 6", "a@48/53=1@50 by 6",
	},
	"S-02-close-gap-retention": {"a@0/10=2@5 by 2", "a@10/20=1@12 by 3", "a@20/30=1@25 by 4", "a@40/50=1@47 by 5"},
	"S-03-close-memory":        {"a@0/10=2@5 by 2", "a@10/20=2@15 by 4"},
	// Two aggregations of one grouping behind a peek: it builds.
	"S-06-optimised-build": {"m1=1@1 by 0", "m1=2@2 by 1", "m2=1@3 by 2"},
	// The first count of a key had no row before it: nothing is subtracted, with or without a cache.
	"S-07-initial-old":        {"all=0+1@1 by 0", "all=0+1+1@2 by 1", "all=0+1+1-1+2@3 by 2"},
	"S-08-initial-old-cached": {"all=0+1@1 by 0", "all=0+1+1@2 by 1", "all=0+1+1-1+2@3 by 2"},
	"S-09-initial-old-window": {
		"1=+a@0/10@1 by 0", "1=+a@0/10-a@0/10@2 by 1", "2=+a@0/10@2 by 1", "1=+a@0/10-a@0/10+b@0/10@3 by 2",
	},
	"S-11-initial-old-filter": {"a=2@2 by 1", "a=~@3 by 2"},
	// A session that has expired is gone, with or without a cache.
	"S-12-session-expiry-cached": {"a@20/20=1@20 by 0", "b@36/36=1@36 by 1", "a@25/25=1@25 by 2"},
	"S-13-session-expiry":        {"a@20/20=1@20 by 0", "b@36/36=1@36 by 1", "a@25/25=1@25 by 2"},
	// The table of a windowed cogroup can be joined like any other.
	"S-15-cogroup-join": {
		"k@0/10=0+1|~@1 by 0", "k@0/10=0+1-2|~@1 by 1", "k@0/10=0+1-2|1@1 by 1", "k@0/10=0+1-2+3|1@3 by 2",
	},
	// Suppress takes the end of a sliding window for exclusive, as Kafka Streams does: a window leaves when stream time
	// reaches its end, and once more where a record of that time follows. Emit(OnClose) waits until time has passed it.
	"S-17-suppress-sliding": {
		"a@10/15=+1@15 by 0", "a@13/18=+1+2@18 by 1", "a@16/21=+2+3@21 by 2", "a@17/22=+2+3+4@22 by 3",
		"a@19/24=+3+4@22 by 4", "a@19/24=+3+4+5@24 by 4", "a@22/27=+4+5@24 by 5", "a@23/28=+5@24 by 5",
		"a@55/60=+6@60 by 5",
	},
	"S-18-suppress-sliding-equal": {"a@15/20=+1@20 by 0", "a@15/20=+1+2@20 by 1", "a@55/60=+3@60 by 2"},
	// A null value moves no horizon.
	"S-16-null-horizon": {"b=2|x@0 by 2"},
	// A topic may be read as a stream and as a table: both hang on one source, and the table was made before the join.
	"S-10-stream-and-table": {"a=1|1@1 by 0", "a=2|2@2 by 1", "b=1|1@1 by 2", "a=3|3@4 by 4"},
}

func TestSurprises(t *testing.T) {
	scenarios, err := load("testdata/surprises.jsonl.gz")
	require.NoError(t, err)
	tested := 0
	for _, s := range scenarios {
		want, ok := surprises[s.ID]
		if !ok {
			require.Contains(t, selfJoins, s.ID)
			continue
		}
		tested++
		t.Run(s.ID, func(t *testing.T) {
			got, err := execute(t, s, mode{})
			require.NoError(t, err)
			var lines []string
			for _, r := range got.Outputs["OUT"] {
				lines = append(lines, fmt.Sprintf("%s=%s@%d by %d", show(r.Key), show(r.Value), r.TS, r.At))
			}
			require.Equal(t, want, lines)
		})
	}
	require.Len(t, surprises, tested)
}

var selfJoins = []string{"S-04-self-join-optimised", "S-05-left-self-join-optimised"}

// TestSelfJoins compares with Kafka Streams' results without its optimizer, which gets these wrong.
func TestSelfJoins(t *testing.T) {
	scenarios, err := load("testdata/surprises.jsonl.gz")
	require.NoError(t, err)
	tested := 0
	for _, s := range scenarios {
		if !slices.Contains(selfJoins, s.ID) {
			continue
		}
		tested++
		got, err := execute(t, s, mode{})
		require.NoError(t, err)
		require.Empty(t, differences(&s.Expect, &got), s.ID)
	}
	require.Len(t, selfJoins, tested)
}
