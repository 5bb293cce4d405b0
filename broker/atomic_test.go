package broker_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/faultfs"
)

// change is something that happens as a whole or not at all.
type change struct {
	topic bool // there is one before
	do    func(t *testing.T, b *broker.Broker) error
}

// changes are all of them. There is a topic t of two partitions before, with an offset of group g for each, and group
// members has one member.
var changes = map[string]change{
	"create a topic": {false, func(t *testing.T, b *broker.Broker) error {
		_, err := kadm.NewClient(brokertest.Client(t, b)).CreateTopic(within(t), 4, 1, nil, "t")
		return err
	}},
	"extend a topic": {true, func(t *testing.T, b *broker.Broker) error {
		done, err := kadm.NewClient(brokertest.Client(t, b)).UpdatePartitions(within(t), 4, "t")
		return errors.Join(err, done["t"].Err)
	}},
	"delete a topic": {true, func(t *testing.T, b *broker.Broker) error {
		done, err := kadm.NewClient(brokertest.Client(t, b)).DeleteTopics(within(t), "t")
		return errors.Join(err, done["t"].Err)
	}},
	"configure a topic": {true, func(t *testing.T, b *broker.Broker) error {
		two := []kadm.AlterConfig{
			{Name: "retention.ms", Value: kmsg.StringPtr("1234567")}, {Name: "segment.ms", Value: kmsg.StringPtr("7654321")},
		}
		done, err := kadm.NewClient(brokertest.Client(t, b)).AlterTopicConfigs(within(t), two, "t")
		if err != nil {
			return err
		}
		return done[0].Err
	}},
	"commit offsets": {true, func(t *testing.T, b *broker.Broker) error { return commitBoth(t, b, 7, 8) }},
	"delete offsets": {true, func(t *testing.T, b *broker.Broker) error {
		resp := deleteOffsets(t, b, "g", "t", 2)
		return kerr.ErrorForCode(max(resp.ErrorCode, resp.Topics[0].Partitions[0].ErrorCode))
	}},
	"delete a group": {true, func(t *testing.T, b *broker.Broker) error {
		req := kmsg.NewPtrDeleteGroupsRequest()
		req.Groups = []string{"g"}
		return kerr.ErrorForCode(ask[*kmsg.DeleteGroupsResponse](t, b, req).Groups[0].ErrorCode)
	}},
	"assign": {true, func(t *testing.T, b *broker.Broker) error {
		_, err := joinAlone(t, b, "new")
		return err
	}},
	"leave": {true, func(t *testing.T, b *broker.Broker) error {
		describe := kmsg.NewPtrDescribeGroupsRequest()
		describe.Groups = []string{"members"}
		leave := kmsg.NewPtrLeaveGroupRequest()
		leave.Group = "members"
		for _, m := range ask[*kmsg.DescribeGroupsResponse](t, b, describe).Groups[0].Members {
			out := kmsg.NewLeaveGroupRequestMember()
			out.MemberID = m.MemberID
			leave.Members = append(leave.Members, out)
		}
		return kerr.ErrorForCode(ask[*kmsg.LeaveGroupResponse](t, b, leave).ErrorCode)
	}},
}

func commitBoth(t *testing.T, b *broker.Broker, first, second int64) error {
	t.Helper()
	topics, err := kadm.NewClient(brokertest.Client(t, b)).ListTopics(within(t))
	require.NoError(t, err)
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = "g", -1
	topic := kmsg.NewOffsetCommitRequestTopic()
	topic.Topic, topic.TopicID = "t", topics["t"].ID
	for i, offset := range []int64{first, second} {
		part := kmsg.NewOffsetCommitRequestTopicPartition()
		part.Partition, part.Offset = int32(i), offset
		topic.Partitions = append(topic.Partitions, part)
	}
	req.Topics = append(req.Topics, topic)
	return kerr.ErrorForCode(ask[*kmsg.OffsetCommitResponse](t, b, req).Topics[0].Partitions[0].ErrorCode)
}

// joinAlone makes a group of one and gives it an assignment.
func joinAlone(t *testing.T, b *broker.Broker, id string) (*kmsg.JoinGroupResponse, error) {
	t.Helper()
	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType = id, "consumer"
	join.SessionTimeoutMillis, join.RebalanceTimeoutMillis = 30_000, 30_000
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "range", []byte("metadata")
	join.Protocols = append(join.Protocols, protocol)
	joined := ask[*kmsg.JoinGroupResponse](t, b, join)
	if err := kerr.ErrorForCode(joined.ErrorCode); errors.Is(err, kerr.MemberIDRequired) {
		join.MemberID = joined.MemberID
		joined = ask[*kmsg.JoinGroupResponse](t, b, join)
	}
	if err := kerr.ErrorForCode(joined.ErrorCode); err != nil {
		return nil, err
	}
	require.Equal(t, joined.MemberID, joined.LeaderID)
	require.Len(t, joined.Members, 1)
	require.Equal(t, "metadata", string(joined.Members[0].ProtocolMetadata))
	sync := kmsg.NewPtrSyncGroupRequest()
	sync.Group, sync.MemberID, sync.Generation = id, joined.MemberID, joined.Generation
	sync.ProtocolType, sync.Protocol = joined.ProtocolType, joined.Protocol
	part := kmsg.NewSyncGroupRequestGroupAssignment()
	part.MemberID, part.MemberAssignment = joined.MemberID, []byte("all of it")
	sync.GroupAssignment = append(sync.GroupAssignment, part)
	synced := ask[*kmsg.SyncGroupResponse](t, b, sync)
	if err := kerr.ErrorForCode(synced.ErrorCode); err != nil {
		return nil, err
	}
	require.Equal(t, "all of it", string(synced.MemberAssignment))
	return joined, nil
}

// stateOf is what changes change, as clients see it. An error means that the broker does not tell.
func stateOf(t *testing.T, b *broker.Broker) (string, error) {
	t.Helper()
	var text strings.Builder
	admin := kadm.NewClient(brokertest.Client(t, b))
	topics, err := admin.ListTopics(within(t))
	if err != nil {
		return "", err
	}
	if topics.Has("t") {
		fmt.Fprintf(&text, "t: %d partitions", len(topics["t"].Partitions))
		configs, err := admin.DescribeTopicConfigs(within(t), "t")
		if err != nil {
			return "", err
		}
		for _, c := range configs[0].Configs {
			if c.Key == "retention.ms" || c.Key == "segment.ms" {
				fmt.Fprintf(&text, ", %s=%s", c.Key, *c.Value)
			}
		}
		for _, p := range topics["t"].Partitions {
			if len(p.OfflineReplicas) > 0 {
				fmt.Fprintf(&text, ", %d is offline", p.Partition)
			}
		}
	}
	fetch := kmsg.NewPtrOffsetFetchRequest()
	fetch.Groups = append(fetch.Groups, kmsg.NewOffsetFetchRequestGroup())
	fetch.Groups[0].Group = "g"
	offsets := ask[*kmsg.OffsetFetchResponse](t, b, fetch).Groups[0]
	if err := kerr.ErrorForCode(offsets.ErrorCode); err != nil {
		return "", err
	}
	for _, topic := range offsets.Topics {
		for _, p := range topic.Partitions {
			fmt.Fprintf(&text, "; g: %d=%d", p.Partition, p.Offset)
		}
	}
	describe := kmsg.NewPtrDescribeGroupsRequest()
	describe.Groups = []string{"members", "new"}
	for _, g := range ask[*kmsg.DescribeGroupsResponse](t, b, describe).Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
			return "", err
		}
		if g.State == "Stable" { // everything else is soft
			fmt.Fprintf(&text, "; %s: %q", g.Group, g.Members[0].MemberAssignment)
		}
	}
	return text.String(), nil
}

// trial is a broker on which one change is tried.
type trial struct {
	t      *testing.T
	mem    *vfs.MemFS
	fs     *faultfs.FS
	b      *broker.Broker
	before string
}

func newTrial(t *testing.T, c change) *trial {
	t.Helper()
	r := &trial{t: t, mem: vfs.NewCrashableMem()}
	r.fs = faultfs.New(r.mem)
	r.open()
	if c.topic {
		createTopic(t, r.b, 2, "t")
		require.NoError(t, commitBoth(t, r.b, 5, 6))
	}
	_, err := joinAlone(t, r.b, "members")
	require.NoError(t, err)
	require.NoError(t, r.b.Close()) // so that nothing of this is written later: a log notes a sync after it
	r.open()
	r.before = r.state(r.b)
	return r
}

func (r *trial) open() {
	r.t.Helper()
	var err error
	r.b, err = broker.Open(broker.Config{FS: r.fs, Clock: brokertest.NewClock()})
	require.NoError(r.t, err)
}

func (r *trial) state(b *broker.Broker) string {
	r.t.Helper()
	state, err := stateOf(r.t, b)
	require.NoError(r.t, err)
	return state
}

// reopen opens a broker on files, and returns its state. There is no directory but those of the topic that it has.
func (r *trial) reopen(fs vfs.FS, powerCut bool) (*broker.Broker, string) {
	r.t.Helper()
	b := brokertest.New(r.t, brokertest.On(fs))
	state := r.state(b)
	dirs := directories(r.t, fs, "t")
	if powerCut { // empty ones that no record names any more
		dirs = withoutStrays(r.t, fs, dirs)
	}
	n := partitions(r.t, b, "t")
	require.Len(r.t, dirs, n)
	for i := range n {
		require.Contains(r.t, dirs, fmt.Sprint("t-", i))
	}
	return b, state
}

// TestChangesAreAllOrNothing tries each change with a failure at each of its writes: the process or the power ends
// before it, or it fails. The next start finds all of the change or nothing of it; what was answered with success is
// there, what was refused is not to be seen, and it can be tried again.
func TestChangesAreAllOrNothing(t *testing.T) {
	rnd := randomSource(t)
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		c := changes[name]
		t.Run(name, func(t *testing.T) {
			r := newTrial(t, c)
			require.NoError(t, c.do(t, r.b))
			after := r.state(r.b)
			require.NotEqual(t, r.before, after)
			require.NoError(t, r.b.Close())
			_, state := r.reopen(r.mem, false)
			require.Equal(t, after, state)
			for mode, try := range map[string]func(*testing.T, change, string, int64, *rand.Rand) (undone, hit bool){
				"kill": tryKill(false), "power cut": tryKill(true), "failure": tryFailure,
			} {
				undone := 0
				for skip := int64(0); ; skip++ {
					before, hit := try(t, c, after, skip, rnd)
					if !hit {
						break
					}
					if before {
						undone++
					}
				}
				require.Positive(t, undone, mode)
			}
		})
	}
}

// tryKill ends the broker before a write. After a power cut some of what was not synced is on the disk.
func tryKill(powerCut bool) func(*testing.T, change, string, int64, *rand.Rand) (undone, hit bool) {
	return func(t *testing.T, c change, after string, skip int64, rnd *rand.Rand) (undone, hit bool) {
		r := newTrial(t, c)
		var mu sync.Mutex
		var left *vfs.MemFS
		crash := func(unsynced int) *vfs.MemFS {
			percent := 100
			if powerCut {
				percent = unsynced
			}
			return r.mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rnd})
		}
		r.fs.Fail(&faultfs.Fault{Kind: faultfs.Writes, Skip: skip, Before: func() {
			mu.Lock()
			defer mu.Unlock()
			left = crash(rnd.IntN(100))
		}})
		require.NoError(t, c.do(t, r.b))
		mu.Lock()
		hit = left != nil
		if !hit { // what was answered survives, even without anything that was not synced
			left = crash(0)
		}
		mu.Unlock()
		require.NoError(t, r.b.Close())
		_, state := r.reopen(left, powerCut)
		if !hit {
			require.Equal(t, after, state, "after the answer")
		}
		require.Contains(t, []string{r.before, after}, state, "write %d", skip)
		return state == r.before, hit
	}
}

// tryFailure has a single write fail.
func tryFailure(t *testing.T, c change, after string, skip int64, _ *rand.Rand) (undone, hit bool) {
	r := newTrial(t, c)
	fault := &faultfs.Fault{Kind: faultfs.Writes, Skip: skip, Once: true, Err: syscall.ENOSPC}
	r.fs.Fail(fault)
	err := c.do(t, r.b)
	if now, refused := stateOf(t, r.b); refused == nil {
		want := after
		if err != nil {
			want = r.before
		}
		require.Equal(t, want, now, "write %d, answered with %v", skip, err)
	}
	r.fs.Fail(nil)
	_ = r.b.Close() // a log that failed to sync says so
	b, state := r.reopen(r.mem, false)
	switch {
	case err == nil:
		require.Equal(t, after, state, "write %d", skip)
	case state == r.before:
		undone = true
		require.NoError(t, c.do(t, b), "again, after write %d failed", skip)
		require.Equal(t, after, r.state(b))
	default:
		require.Equal(t, after, state, "write %d", skip)
	}
	return undone, fault.Hits.Load() > 0
}
