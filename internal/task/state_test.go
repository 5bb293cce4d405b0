package task

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLifeRefusesWhatIsNotItsTurn(t *testing.T) {
	l := life{id: ID{1, 2}}
	require.EqualError(t, l.move(Running), "task 1_2: cannot become running while created")
	require.EqualError(t, l.ready("step"), "task 1_2: step: not while created")
	require.NoError(t, l.move(Restoring))
	require.NoError(t, l.in("restore", Standby, Restoring))
	require.NoError(t, l.move(Running))
	require.NoError(t, l.ready("step"))
	l.broken = errors.New("boom")
	require.EqualError(t, l.ready("step"), "task 1_2: step: discard first, after: boom")
	require.NoError(t, l.move(Closed), "a task that failed can be closed")
	require.Error(t, l.move(Running))
}
