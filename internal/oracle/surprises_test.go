package oracle

import (
	"fmt"
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
	"S-03-close-memory": {"a@0/10=2@5 by 2", "a@10/20=2@15 by 4"},
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

// TestSelfJoins compares with Kafka Streams' results without its optimiser, which gets these wrong.
func TestSelfJoins(t *testing.T) {
	scenarios, err := load("testdata/surprises.jsonl.gz")
	require.NoError(t, err)
	tested := 0
	for _, s := range scenarios {
		if s.ID != "S-04-self-join-optimised" && s.ID != "S-05-left-self-join-optimised" {
			continue
		}
		tested++
		got, err := execute(t, s, mode{})
		require.NoError(t, err)
		require.Empty(t, differences(&s.Expect, &got), s.ID)
	}
	require.Equal(t, 2, tested)
}
