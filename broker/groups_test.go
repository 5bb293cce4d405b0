package broker_test

import (
	"context"
	"fmt"
	"math"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/faultfs"
)

// member is a group member whose every request is the test's.
type member struct {
	t          *testing.T
	client     *kgo.Client
	group      string
	id         string
	instance   *string
	generation int32
	leader     bool
	skip       bool
	others     []kmsg.JoinGroupResponseMember
	metadata   string
}

func newMember(t *testing.T, b *broker.Broker, group string) *member {
	return &member{t: t, client: brokertest.Client(t, b), group: group, metadata: "m"}
}

// join sends a JoinGroup, and a second one when the first is answered with a member id.
func (m *member) join() error {
	req := kmsg.NewPtrJoinGroupRequest()
	req.Group, req.ProtocolType, req.InstanceID = m.group, "consumer", m.instance
	req.SessionTimeoutMillis, req.RebalanceTimeoutMillis = 10_000, 20_000
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name, protocol.Metadata = "p", []byte(m.metadata)
	req.Protocols = append(req.Protocols, protocol)
	for {
		req.MemberID = m.id
		resp, err := req.RequestWith(within(m.t), m.client)
		if err != nil {
			return err
		}
		m.id, m.generation = resp.MemberID, resp.Generation
		m.leader, m.others, m.skip = resp.LeaderID == resp.MemberID, resp.Members, resp.SkipAssignment
		err = kerr.ErrorForCode(resp.ErrorCode)
		if err != kerr.MemberIDRequired {
			return err
		}
	}
}

// sync sends a SyncGroup; the leader gives everybody their own id as assignment.
func (m *member) sync() (string, error) {
	req := kmsg.NewPtrSyncGroupRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = m.group, m.id, m.generation, m.instance
	req.ProtocolType, req.Protocol = kmsg.StringPtr("consumer"), kmsg.StringPtr("p")
	if m.leader && !m.skip {
		for _, other := range m.others {
			part := kmsg.NewSyncGroupRequestGroupAssignment()
			part.MemberID, part.MemberAssignment = other.MemberID, []byte(other.MemberID)
			req.GroupAssignment = append(req.GroupAssignment, part)
		}
	}
	resp, err := req.RequestWith(within(m.t), m.client)
	if err != nil {
		return "", err
	}
	return string(resp.MemberAssignment), kerr.ErrorForCode(resp.ErrorCode)
}

func (m *member) heartbeat() error {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = m.group, m.id, m.generation, m.instance
	resp, err := req.RequestWith(within(m.t), m.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(resp.ErrorCode)
}

// together joins and syncs members at once.
func together(t *testing.T, members ...*member) {
	t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, len(members))
	for i, m := range members {
		wg.Go(func() {
			if errs[i] = m.join(); errs[i] == nil {
				_, errs[i] = m.sync()
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
}

// settle brings two members into one generation: the first has to learn of the second by its heartbeat.
func settle(t *testing.T, first, second *member) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := second.join(); err == nil {
			_, err = second.sync()
			second.check(err)
		} else {
			second.check(err)
		}
	})
	require.Eventually(t, func() bool { return first.heartbeat() == kerr.RebalanceInProgress }, patience,
		time.Millisecond)
	require.NoError(t, first.join())
	assigned, err := first.sync()
	require.NoError(t, err)
	require.Equal(t, first.id, assigned)
	wg.Wait()
	require.Equal(t, first.generation, second.generation)
}

func (m *member) check(err error) {
	if err != nil {
		m.t.Errorf("member %s: %v", m.id, err)
	}
}

func TestTwoMembersRebalance(t *testing.T) {
	clock := brokertest.NewClock()
	b := brokertest.New(t, brokertest.At(clock))
	first, second := newMember(t, b, "g"), newMember(t, b, "g")
	together(t, first)
	require.True(t, first.leader)
	settle(t, first, second)
	require.True(t, first.leader)
	require.Len(t, first.others, 2)
	require.Empty(t, second.others, "only the leader gets the members")

	stale := *second
	stale.generation--
	require.ErrorIs(t, stale.heartbeat(), kerr.IllegalGeneration)
	_, err := stale.sync()
	require.ErrorIs(t, err, kerr.IllegalGeneration)

	// The second falls silent; the first continues alone.
	clock.Advance(9 * time.Second)
	require.NoError(t, first.heartbeat())
	clock.Advance(2 * time.Second)
	require.ErrorIs(t, first.heartbeat(), kerr.RebalanceInProgress)
	require.NoError(t, first.join())
	_, err = first.sync()
	require.NoError(t, err)
	require.Len(t, first.others, 1)
	require.ErrorIs(t, second.heartbeat(), kerr.UnknownMemberID)
}

func TestMemberThatDoesNotRejoinIsRemoved(t *testing.T) {
	clock := brokertest.NewClock()
	b := brokertest.New(t, brokertest.At(clock))
	first, second := newMember(t, b, "g"), newMember(t, b, "g")
	together(t, first)
	joined := make(chan error)
	go func() { joined <- second.join() }()
	require.Eventually(t, func() bool { return first.heartbeat() == kerr.RebalanceInProgress }, patience,
		time.Millisecond)
	for range 3 { // alive, but not joining, until the rebalance timeout
		require.ErrorIs(t, first.heartbeat(), kerr.RebalanceInProgress)
		clock.Advance(7 * time.Second)
	}
	require.NoError(t, <-joined)
	require.True(t, second.leader)
	require.Len(t, second.others, 1)
	require.ErrorIs(t, first.heartbeat(), kerr.UnknownMemberID)
}

func TestMemberThatDoesNotSyncIsRemoved(t *testing.T) {
	clock := brokertest.NewClock()
	b := brokertest.New(t, brokertest.At(clock))
	m := newMember(t, b, "g")
	require.NoError(t, m.join())
	for range 3 {
		require.NoError(t, m.heartbeat())
		clock.Advance(7 * time.Second)
	}
	require.ErrorIs(t, m.heartbeat(), kerr.UnknownMemberID)
}

func TestStaticMemberComesBackWithoutARebalance(t *testing.T) {
	b := brokertest.New(t)
	first, second := newMember(t, b, "g"), newMember(t, b, "g")
	first.instance, second.instance = kmsg.StringPtr("one"), kmsg.StringPtr("two")
	together(t, first)
	settle(t, first, second)
	for _, old := range []*member{first, second} {
		back := *old
		back.id, back.client = "", brokertest.Client(t, b)
		require.NoError(t, back.join())
		require.Equal(t, old.generation, back.generation)
		require.NotEqual(t, old.id, back.id)
		require.Equal(t, old.leader, back.skip, "the leader must not assign again")
		assigned, err := back.sync()
		require.NoError(t, err)
		require.Equal(t, old.id, assigned, "the assignment of before")
		require.ErrorIs(t, old.heartbeat(), kerr.FencedInstanceID)
		require.NoError(t, back.heartbeat())
		*old = back
	}
	// Apache Kafka does not look at what the member says of itself either, before it joins under its id.
	changed := *second
	changed.id, changed.metadata = "", "other"
	require.NoError(t, changed.join())
	require.Equal(t, second.generation, changed.generation)
	_, err := changed.sync()
	require.NoError(t, err)
	changed.metadata = "another"
	done := make(chan error)
	go func() { done <- changed.join() }()
	require.Eventually(t, func() bool { return first.heartbeat() == kerr.RebalanceInProgress }, patience,
		time.Millisecond)
	require.NoError(t, first.join())
	require.NoError(t, <-done)
}

func TestInitialRebalanceDelay(t *testing.T) {
	clock := brokertest.NewClock()
	b := brokertest.New(t, brokertest.At(clock), brokertest.Configure(func(cfg *broker.Config) {
		cfg.InitialRebalanceDelay = 3 * time.Second
	}))
	first, second := newMember(t, b, "g"), newMember(t, b, "g")
	errs := make(chan error)
	for _, m := range []*member{first, second} {
		go func() { errs <- m.join() }()
	}
	adm := kadm.NewClient(brokertest.Client(t, b))
	require.Eventually(t, func() bool {
		groups, err := adm.DescribeGroups(within(t), "g")
		return err == nil && len(groups["g"].Members) == 2
	}, patience, time.Millisecond)
	clock.Advance(3 * time.Second) // somebody arrived: once more
	clock.Advance(3 * time.Second)
	require.NoError(t, <-errs)
	require.NoError(t, <-errs)
	require.Equal(t, int32(1), first.generation)
	require.Equal(t, int32(1), second.generation)
}

func TestCommitsAreChecked(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 1, "t")
	require.NoError(t, commitOffset(t, b, "g", "t", 0, 1), "a group without members takes commits of anybody")
	m := newMember(t, b, "g")
	together(t, m)
	require.ErrorIs(t, commitOffset(t, b, "g", "t", 0, 1), kerr.UnknownMemberID)
	require.Error(t, commitOffset(t, b, "h", "nowhere", 0, 1))

	adm := kadm.NewClient(m.client)
	deleted, err := adm.DeleteGroups(within(t), "g", "unknown")
	require.NoError(t, err)
	require.ErrorIs(t, deleted["g"].Err, kerr.NonEmptyGroup)
	require.ErrorIs(t, deleted["unknown"].Err, kerr.GroupIDNotFound)
	leave := kmsg.NewPtrLeaveGroupRequest()
	leave.Group = "g"
	who := kmsg.NewLeaveGroupRequestMember()
	who.MemberID = m.id
	leave.Members = append(leave.Members, who)
	resp, err := leave.RequestWith(within(t), m.client)
	require.NoError(t, err)
	require.Zero(t, resp.ErrorCode)
	require.Zero(t, resp.Members[0].ErrorCode)
	deleted, err = adm.DeleteGroups(within(t), "g")
	require.NoError(t, err)
	require.NoError(t, deleted["g"].Err)
	listed, err := adm.ListGroups(within(t))
	require.NoError(t, err)
	require.NotContains(t, listed.Groups(), "g")
}

func TestOffsetsExpire(t *testing.T) {
	clock, seen := brokertest.NewClock(), &journal{}
	full := failing("__consumer_offsets-0", syscall.ENOSPC, errorfs.OpFileWrite, errorfs.OpFileWriteAt)
	fs := faultfs.New(vfs.NewMem())
	b := brokertest.New(t, brokertest.At(clock), brokertest.On(fs), seen.logTo())
	createTopic(t, b, 1, "t")
	require.NoError(t, commitOffset(t, b, "g", "t", 0, 1))
	adm := kadm.NewClient(brokertest.Client(t, b))
	clock.Advance(6 * 24 * time.Hour)
	fetched, err := adm.FetchOffsets(within(t), "g")
	require.NoError(t, err)
	require.Len(t, fetched.Offsets()["t"], 1)
	fs.Fail(full)
	clock.Advance(25 * time.Hour)
	fetched, err = adm.FetchOffsets(within(t), "g")
	require.NoError(t, err)
	require.Len(t, fetched.Offsets()["t"], 1, "there is no room for the record that it is gone")
	require.Empty(t, seen.lines("an offset expired"))
	fs.Fail(nil)
	clock.Advance(time.Minute)
	require.Len(t, seen.lines("an offset expired", "group=g", "topic=t", "partition=0", "offset=1"), 1)
	fetched, err = adm.FetchOffsets(within(t), "g")
	require.NoError(t, err)
	require.Empty(t, fetched.Offsets()["t"])
	groups, err := adm.ListGroups(within(t))
	require.NoError(t, err)
	require.Empty(t, groups.Groups())
}

// copyInTransactions is a member that copies the topic in to the topic out until poll ends or it has committed
// most transactions. It hands the number of records of each committed transaction to copied.
func copyInTransactions(ctx, poll context.Context, t *testing.T, b *broker.Broker, id string, most int,
	copied chan<- int) {
	s, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(b.Addr()), kgo.Dialer(b.Dial), kgo.TransactionalID(id), kgo.ConsumerGroup("copy"),
		kgo.ConsumeTopics("in"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.HeartbeatInterval(20*time.Millisecond), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		t.Errorf("session of %s: %v", id, err)
		return
	}
	defer s.Close()
	for commits := 0; commits < most && poll.Err() == nil; {
		records := s.PollRecords(poll, 20).Records()
		if len(records) == 0 {
			continue
		}
		if err := s.Begin(); err != nil {
			t.Errorf("begin of %s: %v", id, err)
			return
		}
		for _, r := range records {
			s.Produce(ctx, &kgo.Record{Topic: "out", Value: r.Value}, nil)
		}
		ok, err := s.End(ctx, kgo.TryCommit)
		if err != nil {
			t.Errorf("end of %s: %v", id, err)
			return
		}
		if ok {
			commits++
			select {
			case copied <- len(records):
			case <-ctx.Done():
			}
		}
	}
}

// TestExactlyOnceThroughRebalances copies a topic with two members, one of which comes and goes. What was copied is
// replaced by as much, so that a guest finds records in its partitions however late it gets them.
func TestExactlyOnceThroughRebalances(t *testing.T) {
	b := brokertest.New(t)
	createTopic(t, b, 4, "in")
	createTopic(t, b, 4, "out")
	feeder := brokertest.Client(t, b, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	total, done := 0, 0
	feed := func(n int) {
		produceValues(t, feeder, "in", fmt.Sprintf("%d+", total), n)
		total += n
	}
	feed(600)
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	poll, stop := context.WithCancel(ctx)
	copied := make(chan int)
	wg.Go(func() { copyInTransactions(ctx, poll, t, b, "steady", math.MaxInt, copied) })
	for round := range 3 {
		left := make(chan struct{})
		wg.Go(func() {
			defer close(left)
			copyInTransactions(ctx, ctx, t, b, fmt.Sprintf("guest-%d", round), 2, copied)
		})
		for present := true; present; {
			select {
			case n := <-copied:
				done += n
				feed(n)
			case <-left:
				present = false
			}
		}
	}
	for done < total {
		select {
		case n := <-copied:
			done += n
		case <-ctx.Done():
			t.Fatalf("%d of %d records copied", done, total)
		}
	}
	stop()
	wg.Wait()
	out := brokertest.Client(t, b, kgo.ConsumeTopics("out"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	seen := map[string]int{}
	for len(seen) < total && ctx.Err() == nil {
		for _, r := range out.PollFetches(ctx).Records() {
			seen[string(r.Value)]++
			require.Equal(t, 1, seen[string(r.Value)], "%s", r.Value)
		}
	}
	require.Len(t, seen, total)
	require.Equal(t, total, done)
}
