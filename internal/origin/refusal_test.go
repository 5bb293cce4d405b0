package origin

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state"
)

// Tasks with the same ways out are listed in front of them, and others have theirs.
func TestRefusalsOfManyTasksHaveTheirWaysOutOnce(t *testing.T) {
	var all []*Refusal
	add := func(v Verdict) {
		r, ok := errors.AsType[*Refusal](v.Err())
		require.True(t, ok)
		all = append(all, r)
	}
	for p := range 6 {
		cut := func(l *Local) { l.Task, l.First = fmt.Sprint("0_", p), int64(60+p) }
		add(CompareLocal(with(kept(), cut)))
		add(CompareLocal(with(lost(), cut)))
	}
	add(CompareTopic(with(topic(), func(t *Topic) { t.Exists = false })))
	lines := strings.Split(Together(all).Error(), "\n")
	require.Len(t, lines, 3)
	for _, line := range lines[:2] {
		for p := range factsMost {
			require.Contains(t, line, fmt.Sprintf("task 0_%d: ", p))
			require.Contains(t, line, fmt.Sprintf("begins at %d", 60+p))
		}
		require.NotContains(t, line, "task 0_4: ")
		require.Contains(t, line, "likewise tasks 0_4, 0_5")
		require.Equal(t, 1, strings.Count(line, "Client.Reset"))
	}
	require.Contains(t, lines[0], "state drop state/app rows -task 0_0,0_1,0_2,0_3,0_4,0_5`")
	require.NotContains(t, lines[1], "state drop")
	require.Contains(t, lines[2], "does not exist")
	_, refused := errors.AsType[*Refusal](Together(all))
	require.True(t, refused)
	require.NoError(t, Together(nil))
}

// An input that lacks records does not fill a store again, and nothing fills one again that no input has filled.
func TestOnlyAWholeInputFillsAStoreAgain(t *testing.T) {
	const refilled = "to fill it again from topic"
	was := with(store(), func(s *Store) { s.ListedFilling, s.ListedTopic, s.ListedWhole = state.FromInput, "in", true })
	require.Contains(t, CompareStore(was).Text, refilled)
	was.ListedWhole = false
	require.NotContains(t, CompareStore(was).Text, refilled)
	was.ListedFilling, was.ListedTopic = state.FromNothing, ""
	require.NotContains(t, CompareStore(was).Text, refilled)
}
