package origin

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A store that was left out says what it lacks, without a list that nobody reads.
func TestAStoreThatWasLeftOut(t *testing.T) {
	a := Absence{
		Place: place, Store: "rows", Topic: "app-rows-changelog", Ends: []End{{"0_3", 50}},
		Missed: []Missed{{"0_3", "in", 3, 10, 20}},
	}
	for _, part := range []string{
		"store rows", "task 0_3: topic in partition 3 from offset 10 to 20", "end of topic app-rows-changelog",
		"task 0_3: offset 50", "state drop state/app rows`", "topics delete app-rows-changelog app-progress", "Client.Reset",
	} {
		require.Contains(t, a.Text(), part)
	}
	for p := range int32(20) {
		a.Missed = append(a.Missed, Missed{"0_4", "in", 4 + p, 0, 1})
	}
	require.Contains(t, a.Text(), "and 13 more")
	a.Topic, a.Ends = "", nil
	require.Contains(t, a.Text(), "state drop state/app rows`")
	require.NotContains(t, a.Text(), "topics delete")
}
