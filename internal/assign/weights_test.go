package assign

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// A process of an earlier build has a member for each worker, and one of today one member that weighs as much as its
// workers: with as many workers they get the same.
func TestWeightsStandForMembers(t *testing.T) {
	var tasks []Task
	for i := range 24 {
		tasks = append(tasks, Task{ID: TaskID{int32(i % 2), int32(i / 2)}, Stateful: i%2 == 0})
	}
	members := []Member{{ID: "new", Process: "N", Weight: 3}}
	for i := range 3 {
		members = append(members, Member{ID: fmt.Sprint("old", i), Process: "O", Weight: 1})
	}
	got := Assign(tasks, members, Options{}).Members
	require.Len(t, got[0].Active, 12)
	for _, a := range got[1:] {
		require.Len(t, a.Active, 4, a.Member)
	}
}
