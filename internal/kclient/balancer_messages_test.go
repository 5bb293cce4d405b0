package kclient

import (
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/internal/assign"
)

// userData is what the leader sends to members, beside the partitions.
func userData(
	t *testing.T, leader kgo.GroupBalancer, counts map[string]int32, members ...kmsg.JoinGroupResponseMember,
) (data, whole map[string][]byte) {
	t.Helper()
	mb, _, err := leader.MemberBalancer(members)
	require.NoError(t, err)
	plan, err := mb.(kgo.GroupMemberBalancerOrError).BalanceOrError(counts)
	require.NoError(t, err)
	data, whole = map[string][]byte{}, map[string][]byte{}
	for _, a := range plan.IntoSyncAssignment() {
		var parsed kmsg.ConsumerMemberAssignment
		require.NoError(t, parsed.ReadFrom(a.MemberAssignment))
		data[a.MemberID], whole[a.MemberID] = parsed.UserData, a.MemberAssignment
	}
	return data, whole
}

func memberWith(id string, generation int32, owned []int32, data []byte) kmsg.JoinGroupResponseMember {
	meta := kmsg.NewConsumerMemberMetadata()
	meta.Version, meta.Topics, meta.Generation, meta.UserData = 3, []string{"in"}, generation, data
	if len(owned) > 0 {
		o := kmsg.NewConsumerMemberMetadataOwnedPartition()
		o.Topic, o.Partitions = "in", owned
		meta.OwnedPartitions = append(meta.OwnedPartitions, o)
	}
	m := kmsg.NewJoinGroupResponseMember()
	m.MemberID, m.ProtocolMetadata = id, meta.AppendTo(nil)
	return m
}

func idsOf(partitions ...int32) (ids []assign.TaskID) {
	for _, p := range partitions {
		ids = append(ids, assign.TaskID{Subtopology: 3, Partition: p})
	}
	return ids
}

func heldAt(position int64, partitions ...int32) (held []assign.Held) {
	for _, id := range idsOf(partitions...) {
		held = append(held, assign.Held{ID: id, Position: position})
	}
	return held
}

func balancerOf(o assign.Options) *balancer {
	return NewBalancer(BalancerConfig{
		Subtopologies: []Subtopology{{ID: 3, Topics: []string{"in"}, Stateful: true, Logged: true}}, Options: o,
		Report: func() assign.Report { return assign.Report{} }, Topology: "topology",
	}).(*balancer)
}

// Members learn which tasks they have, which they keep copies of, and which come later.
func TestAssignmentsNameTasks(t *testing.T) {
	b := balancerOf(assign.Options{Standbys: 1, AcceptableLag: 10, WarmupsMax: 1})
	report := func(process string, held ...assign.Held) []byte {
		return assign.Report{Process: process, Held: held, Topology: sumOf("topology")}.Append(nil)
	}
	_, whole := userData(t, b, map[string]int32{"in": 4},
		memberWith("1", 5, []int32{0, 1, 2, 3}, report("a", heldAt(1000, 0, 1, 2, 3)...)),
		memberWith("2", -1, nil, report("b", heldAt(995, 3)...)))
	sent := map[string]*assign.Sent{}
	for id, assignment := range whole {
		partitions, err := b.ParseSyncAssignment(assignment)
		require.NoError(t, err)
		sent[id] = b.sent.Load()
		require.Len(t, partitions["in"], len(sent[id].Active), "what moves is given back first")
	}
	require.Equal(t, &assign.Sent{
		Topology: sumOf("topology"), ProbeAfter: 10 * time.Minute, Active: idsOf(0, 1, 2), Standby: idsOf(3),
	}, sent["1"])
	require.Equal(t, &assign.Sent{
		Topology: sumOf("topology"), Standby: idsOf(0, 1, 2), Warmup: idsOf(3),
	}, sent["2"], "the task that comes stays a copy; as a standby each of the others needs no warm-up")
}

// Builds whose assignments do not name tasks get what they know, and lead members that know more.
func TestOldAndNewMembersInOneGroup(t *testing.T) {
	old, err := hex.DecodeString("0101" + "0161" + "01" + "01" + "03000a" + "10" +
		hex.EncodeToString([]byte(sumOf("topology"))))
	require.NoError(t, err)
	b := balancerOf(assign.Options{Standbys: 1})
	data, whole := userData(t, b, map[string]int32{"in": 2},
		memberWith("old", 5, []int32{0, 1}, old),
		memberWith("new", 5, nil, assign.Report{Process: "b", Topology: sumOf("topology")}.Append(nil)))
	require.Equal(t, b.signature(2), data["old"])
	require.EqualValues(t, 1, data["old"][0])
	require.EqualValues(t, assign.SentVersion, data["new"][0])

	partitions, err := b.ParseSyncAssignment(whole["new"])
	require.NoError(t, err)
	require.Empty(t, partitions)
	require.Equal(t, idsOf(0), b.sent.Load().Standby)
	require.Equal(t, idsOf(1), b.sent.Load().Warmup)
	for name, data := range map[string][]byte{"signature": b.signature(2), "nothing": nil} {
		a := kmsg.NewConsumerMemberAssignment()
		a.UserData = data
		_, err = b.ParseSyncAssignment(a.AppendTo(nil))
		require.NoError(t, err, name)
		require.Nil(t, b.sent.Load(), name)
	}
}

// What an older build reports of tasks that it runs is from when it opened them.
func TestOldReportsOfRunningTasksCountForNothing(t *testing.T) {
	b := balancerOf(assign.Options{AcceptableLag: 10, WarmupsMax: 1})
	stale := append([]byte{1, 1}, assign.Report{Process: "a", Held: heldAt(10, 0)}.Append(nil)[2:]...)
	_, whole := userData(t, b, map[string]int32{"in": 1},
		memberWith("1", 5, []int32{0}, stale),
		memberWith("2", 5, nil, assign.Report{Process: "b", Held: heldAt(500, 0)}.Append(nil)))
	partitions, err := b.ParseSyncAssignment(whole["1"])
	require.NoError(t, err)
	require.Equal(t, map[string][]int32{"in": {0}}, partitions, "it stays where it runs")
}

func TestALeaderWithAnotherTopology(t *testing.T) {
	differs := 0
	b := balancerOf(assign.Options{})
	b.cfg.Differs = func(string) { differs++ }
	a := kmsg.NewConsumerMemberAssignment()
	a.UserData = assign.Sent{Topology: sumOf("another")}.Append(nil)
	_, err := b.ParseSyncAssignment(a.AppendTo(nil))
	require.ErrorIs(t, err, errTopologyDiffers)
	require.Equal(t, 1, differs)
}

// A process joins a group over a broker. Its first task comes by a probe, once its copy is near.
func TestTasksMoveAfterAWarmUp(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		admin := b.open(nil)
		topic, group := b.topic(admin, "in", 2), b.name("group")
		near := make(chan struct{})
		join := func(process string) *Client {
			return b.open(func(c *Config) {
				c.Group, c.Topics = group, []string{topic}
				c.HeartbeatInterval = 100 * time.Millisecond
				c.Balancer = NewBalancer(BalancerConfig{
					Subtopologies: []Subtopology{{ID: 3, Topics: []string{topic}, Stateful: true, Logged: true}},
					Options:       assign.Options{AcceptableLag: 10, WarmupsMax: 1}, ProbeInterval: time.Millisecond,
					Report: func() assign.Report {
						r := assign.Report{Process: process, Held: heldAt(1000, 0, 1)}
						select {
						case <-near:
						default:
							if process == "b" {
								r.Held = nil
							}
						}
						return r
					},
				})
			})
		}
		first := join("a")
		e := b.event(first, Assigned)
		require.Equal(t, idsOf(0, 1), e.Assignment.Active)
		second := join("b")
		require.Eventually(t, func() bool {
			e := b.event(second, Assigned)
			require.Empty(t, e.Partitions)
			return slices.Equal(idsOf(1), e.Assignment.Warmup)
		}, patience, time.Millisecond)
		close(near)
		released := make(chan struct{})
		go func() {
			defer close(released)
			for e := range first.Events() {
				e.Done()
				if e.Kind == Revoked {
					return
				}
			}
		}()
		for len(e.Assignment.Active) != 1 || e.Assignment.Active[0] != idsOf(1)[0] {
			e = b.event(second, Assigned)
		}
		require.Equal(t, []TopicPartition{{topic, 1}}, e.Partitions)
		<-released
	})
}
