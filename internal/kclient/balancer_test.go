package kclient

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/internal/assign"
)

// joining is a member as the leader sees it.
type joining struct {
	id         string
	generation int32
	owned      map[string][]int32
	report     assign.Report
}

func balanceOf(t *testing.T, b kgo.GroupBalancer, counts map[string]int32, members ...joining) (
	map[string]map[string][]int32, error) {
	t.Helper()
	topics := make([]string, 0, len(counts))
	for topic := range counts {
		topics = append(topics, topic)
	}
	var joined []kmsg.JoinGroupResponseMember
	for _, m := range members {
		own := NewBalancer(BalancerConfig{Report: func() assign.Report { return m.report }})
		jm := kmsg.NewJoinGroupResponseMember()
		jm.MemberID = m.id
		jm.ProtocolMetadata = own.JoinGroupMetadata(topics, m.owned, m.generation)
		joined = append(joined, jm)
	}
	mb, _, err := b.MemberBalancer(joined)
	require.NoError(t, err)
	plan, err := mb.(kgo.GroupMemberBalancerOrError).BalanceOrError(counts)
	if err != nil {
		return nil, err
	}
	got := make(map[string]map[string][]int32)
	for _, a := range plan.IntoSyncAssignment() {
		parsed, err := b.ParseSyncAssignment(a.MemberAssignment)
		require.NoError(t, err)
		got[a.MemberID] = parsed
	}
	return got, nil
}

func oneTask() kgo.GroupBalancer {
	return NewBalancer(BalancerConfig{
		Subtopologies: []Subtopology{{ID: 3, Topics: []string{"wide", "narrow"}, Stateful: true}},
		Report:        func() assign.Report { return assign.Report{} },
	})
}

func TestInputsOfDifferentWidth(t *testing.T) {
	got, err := balanceOf(t, oneTask(), map[string]int32{"wide": 4, "narrow": 2},
		joining{id: "a", report: assign.Report{Process: "A"}}, joining{id: "b", report: assign.Report{Process: "B"}})
	require.NoError(t, err)
	total := 0
	for _, m := range got {
		require.Len(t, m["wide"], 2)
		total += len(m["narrow"])
		for _, p := range m["narrow"] {
			require.Contains(t, m["wide"], p, "a task is whole")
		}
	}
	require.Equal(t, 2, total)
}

func TestWhatMovesIsGivenBackFirst(t *testing.T) {
	counts := map[string]int32{"wide": 2, "narrow": 2}
	all := map[string][]int32{"wide": {0, 1}, "narrow": {0, 1}}
	got, err := balanceOf(t, oneTask(), counts,
		joining{id: "a", generation: 5, owned: all, report: assign.Report{Process: "A"}},
		joining{id: "b", generation: -1, report: assign.Report{Process: "B"}})
	require.NoError(t, err)
	require.Equal(t, map[string]map[string][]int32{
		"a": {"wide": {0}, "narrow": {0}}, "b": {},
	}, got, "the second gets its task when the first has given it back")
}

func TestAnOldClaimCountsForNothing(t *testing.T) {
	counts := map[string]int32{"wide": 1, "narrow": 1}
	claim := map[string][]int32{"wide": {0}, "narrow": {0}}
	got, err := balanceOf(t, oneTask(), counts,
		joining{id: "a", generation: 5, owned: claim, report: assign.Report{Process: "A"}},
		joining{id: "b", generation: 8, owned: claim, report: assign.Report{Process: "B"}})
	require.NoError(t, err)
	require.Equal(t, claim, got["b"])
	require.Empty(t, got["a"])
}

func TestStateOnDiskDecidesAtTheStart(t *testing.T) {
	held := func(p int32) []assign.Held {
		return []assign.Held{{ID: assign.TaskID{Subtopology: 3, Partition: p}, Position: 100}}
	}
	for _, p := range []int32{0, 1} {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			got, err := balanceOf(t, oneTask(), map[string]int32{"wide": 2, "narrow": 2},
				joining{id: "a", report: assign.Report{Process: "A", Held: held(p)}},
				joining{id: "b", report: assign.Report{Process: "B", Held: held(1 - p)}})
			require.NoError(t, err)
			require.Equal(t, []int32{p}, got["a"]["wide"])
			require.Equal(t, []int32{1 - p}, got["b"]["narrow"])
		})
	}
}

// A member of a version that nobody here can read must not keep the others from their work.
func TestAMemberThatCannotBeRead(t *testing.T) {
	var unread []string
	b := NewBalancer(BalancerConfig{
		Subtopologies: []Subtopology{{ID: 3, Topics: []string{"wide"}, Stateful: true}},
		Report:        func() assign.Report { return assign.Report{} },
		Unread: func(member string, err error) {
			unread = append(unread, member)
			require.Error(t, err)
		},
	})
	var joined []kmsg.JoinGroupResponseMember
	one := assign.Report{Process: "P"}
	for id, data := range map[string][]byte{"stranger": {9, 9}, "cut off": {}, "one": one.Append(nil)} {
		meta := kmsg.NewConsumerMemberMetadata()
		meta.Topics, meta.UserData = []string{"wide"}, data
		m := kmsg.NewJoinGroupResponseMember()
		m.MemberID, m.ProtocolMetadata = id, meta.AppendTo(nil)
		joined = append(joined, m)
	}
	mb, _, err := b.MemberBalancer(joined)
	require.NoError(t, err)
	plan, err := mb.(kgo.GroupMemberBalancerOrError).BalanceOrError(map[string]int32{"wide": 3})
	require.NoError(t, err)
	for _, a := range plan.IntoSyncAssignment() {
		got, err := b.ParseSyncAssignment(a.MemberAssignment)
		require.NoError(t, err)
		require.Len(t, got["wide"], 1, a.MemberID)
	}
	require.ElementsMatch(t, []string{"stranger", "cut off"}, unread)
}
