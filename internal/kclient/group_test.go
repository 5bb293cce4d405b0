package kclient

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"

	"thalweg/broker/brokertest"
	"thalweg/internal/assign"
)

// tasksOf is a balancer of two sub-topologies with two inputs each.
func tasksOf(process string, a, b []string) kgo.GroupBalancer {
	return NewBalancer(BalancerConfig{
		Subtopologies: []Subtopology{{ID: 0, Topics: a}, {ID: 1, Topics: b, Stateful: true}},
		Report:        func() assign.Report { return assign.Report{Process: process} },
	})
}

func TestRebalanceMovesWholeTasks(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		admin := b.open(nil)
		a := []string{b.topic(admin, "a1", 2), b.topic(admin, "a2", 2)}
		s := []string{b.topic(admin, "s1", 2), b.topic(admin, "s2", 2)}
		join := func(process string) *Client {
			return b.open(func(c *Config) {
				c.Group, c.Topics = b.name("group"), append(append([]string{}, a...), s...)
				c.Balancer = tasksOf(process, a, s)
				c.HeartbeatInterval = 100 * time.Millisecond
			})
		}
		first := join("one")
		require.Len(t, b.event(first, Assigned).Partitions, 8)

		second := join("two")
		revoked := b.event(first, Revoked).Partitions
		require.Len(t, revoked, 4, "two tasks of two partitions")
		var got []TopicPartition
		for len(got) == 0 {
			got = b.event(second, Assigned).Partitions
		}
		require.Equal(t, revoked, got)
		whole := map[[2]int32]int{}
		for _, tp := range got {
			sub := int32(0)
			if tp.Topic == s[0] || tp.Topic == s[1] {
				sub = 1
			}
			whole[[2]int32{sub, tp.Partition}]++
		}
		require.Len(t, whole, 2)
		for id, n := range whole {
			require.Equal(t, 2, n, "task %v is torn", id)
		}

		second.Close()
		for got = nil; len(got) == 0; {
			got = b.event(first, Assigned).Partitions
		}
		require.Equal(t, revoked, got, "what the second had comes back")
	})
}

func TestEventsAreQueued(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		admin := b.open(nil)
		topic := b.topic(admin, "in", 1)
		l := b.member(b.name("group"), "", topic)
		first := b.event(l, Assigned)
		require.Equal(t, []TopicPartition{{topic, 0}}, first.Partitions)
		l.Rejoin()
		l.Close() // with events that nobody takes
	})
}

// A client that has heard of a topic a moment ago makes it again once it has deleted it.
func TestEnsureATopicThatWasJustDeleted(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.open(nil)
		spec := TopicSpec{Name: b.name("t"), Partitions: 3}
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{spec}))
		_, err := l.Topics().List(b.ctx, spec.Name)
		require.NoError(t, err)
		_, err = l.admin.DeleteTopic(b.ctx, spec.Name)
		require.NoError(t, err)
		spec.Partitions = 2
		ensure := func() error { return l.Topics().Ensure(b.ctx, []TopicSpec{spec}) }
		if l.cfg.Broker != nil {
			require.NoError(t, ensure())
		} else { // a cluster's brokers learn of the deletion one after the other
			require.Eventually(t, func() bool { return ensure() == nil }, patience, 50*time.Millisecond)
		}
		n, err := l.Partitions(b.ctx, spec.Name)
		require.NoError(t, err)
		require.EqualValues(t, 2, n)
	})
}

func TestEnsureTopics(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.open(nil)
		spec := TopicSpec{
			Name: b.name("store-changelog"), Partitions: 3, Config: map[string]string{"cleanup.policy": "compact"},
		}
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{spec}))
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{spec}), "it exists")
		n, err := l.Partitions(b.ctx, spec.Name)
		require.NoError(t, err)
		require.EqualValues(t, 3, n)

		more := spec
		more.Partitions = 4
		other := TopicSpec{Name: b.name("plain"), Partitions: 1, Config: map[string]string{"cleanup.policy": "delete"}}
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{other}))
		other.Config = map[string]string{"cleanup.policy": "compact"}
		err = l.Topics().Ensure(b.ctx, []TopicSpec{more, other})
		require.ErrorContains(t, err, "has 3 partitions, the topology needs 4")
		require.ErrorContains(t, err, "cleanup.policy=delete")
		timed := TopicSpec{Name: b.name("timed"), Partitions: 1, Config: map[string]string{timestampType: "LogAppendTime"}}
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{timed}))
		timed.Config = map[string]string{timestampType: "CreateTime"}
		require.ErrorContains(t, l.Topics().Ensure(b.ctx, []TopicSpec{timed}), "message.timestamp.type=LogAppendTime")

		old := TopicSpec{Name: b.name("old"), Partitions: 1, Config: map[string]string{
			cleanupPolicy: "compact,delete", retentionMS: "90000000", timestampAfter: "3600000", "segment.bytes": "2000000",
		}}
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{old}))
		now := old
		now.Config = map[string]string{
			cleanupPolicy: "compact,delete", retentionMS: "-1", timestampAfter: "9223372036854775807",
			"segment.bytes": "3000000",
		}
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{now}))
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{old}), "what is wide stays")
		values := b.settings(l, old.Name)
		require.Equal(t, "-1", values[retentionMS])
		require.Equal(t, "9223372036854775807", values[timestampAfter])
		require.Equal(t, "2000000", values["segment.bytes"], "what loses nothing is the operator's")

		_, err = l.Partitions(b.ctx, b.name("missing"))
		require.ErrorContains(t, err, "create the topic")
	})
}

// Settings with a most are lowered, of a topic that an earlier build has made, too.
func TestSettingsWithAMost(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.open(nil)
		most := map[string]string{"segment.bytes": "3000000", "delete.retention.ms": "60000"}
		made := TopicSpec{Name: b.name("made"), Partitions: 1, Most: most}
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{made}))
		require.Subset(t, b.settings(l, made.Name), most)

		old := TopicSpec{Name: b.name("old"), Partitions: 1, Config: map[string]string{"delete.retention.ms": "1000"}}
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{old}))
		old.Config, old.Most = nil, most
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{old}))
		require.Subset(t, b.settings(l, old.Name),
			map[string]string{"segment.bytes": "3000000", "delete.retention.ms": "1000"})

		refused := TopicSpec{Name: b.name("refused"), Partitions: 1, Most: map[string]string{"segment.bytes": "1"}}
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{refused}), "it is made without")
		require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{refused}), "nor is it a reason not to start")
	})
}

// settings are those of a topic.
func (b *bench) settings(l *Client, topic string) map[string]string {
	b.t.Helper()
	described, err := l.admin.DescribeTopicConfigs(b.ctx, topic)
	require.NoError(b.t, err)
	values := map[string]string{}
	for _, c := range described[0].Configs {
		if c.Value != nil {
			values[c.Key] = *c.Value
		}
	}
	return values
}

// Settings of a cluster do not make an embedded broker, the only replica, refuse every record.
func TestEmbeddedTopicsAskForOneReplica(t *testing.T) {
	var log bytes.Buffer
	l, err := Open(t.Context(), Config{
		Broker: brokertest.New(t), Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.NoError(t, err)
	defer l.Close()
	config := map[string]string{"min.insync.replicas": "2", "cleanup.policy": "compact"}
	specs := []TopicSpec{{Name: "a", Partitions: 1, Config: config}, {Name: "b", Partitions: 1, Config: config}}
	_, err = l.Topics().Create(t.Context(), specs)
	require.NoError(t, err)
	described, err := l.admin.DescribeTopicConfigs(t.Context(), "a", "b")
	require.NoError(t, err)
	for _, topic := range described {
		for _, c := range topic.Configs {
			if c.Key == "min.insync.replicas" {
				require.Equal(t, "1", c.MaybeValue())
			}
		}
	}
	require.Equal(t, 1, strings.Count(log.String(), "level=WARN"))
}

// Processes that start at the same time make the same topics: each is made by one of them, and all go on.
func TestEnsureTopicsAllAtOnce(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		clients := make([]*Client, 4)
		for i := range clients {
			clients[i] = b.open(nil)
		}
		for round := range 20 {
			specs := []TopicSpec{
				{Name: b.name(fmt.Sprintf("words-%d", round)), Partitions: 3},
				{Name: b.name(fmt.Sprintf("changelog-%d", round)), Partitions: 2,
					Config: map[string]string{"cleanup.policy": "compact"}},
			}
			var all errgroup.Group
			for _, l := range clients {
				all.Go(func() error { return l.Topics().Ensure(b.ctx, specs) })
			}
			require.NoError(t, all.Wait())
		}
	})
}

func TestNobodyAnswers(t *testing.T) {
	_, err := Open(t.Context(), Config{
		Seeds:       []string{"127.0.0.1:1"},
		OpenTimeout: 50 * time.Millisecond,
	})
	require.ErrorContains(t, err, "127.0.0.1:1")
	require.ErrorContains(t, err, "is the broker running")
}

func TestAMemberThatIsPutOutLosesItsPartitionsAndComesBack(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		admin := b.open(nil)
		topic := b.topic(admin, "in", 2)
		l := b.open(func(c *Config) {
			c.Group, c.Topics, c.TransactionalID = b.name("group"), []string{topic}, b.name("txn")
			c.HeartbeatInterval = 100 * time.Millisecond
		})
		require.NoError(t, l.InitProducer(b.ctx))
		mine := b.event(l, Assigned).Partitions
		require.Len(t, mine, 2)

		member, _ := l.client.GroupMetadata()
		put := kmsg.NewPtrLeaveGroupRequest()
		put.Group = b.name("group")
		one := kmsg.NewLeaveGroupRequestMember()
		one.MemberID = member
		put.Members = append(put.Members, one)
		resp, err := put.RequestWith(b.ctx, admin.client)
		require.NoError(t, err)
		require.Zero(t, resp.Members[0].ErrorCode)

		e := <-l.Events()
		require.Equal(t, Lost, e.Kind)
		require.Equal(t, mine, e.Partitions)
		offsets := []Offset{{mine[0], 1, -1, ""}}
		require.Equal(t, Fenced, ClassOf(l.SendOffsets(b.ctx, offsets)), "while it is out")
		require.NoError(t, l.EndTxn(b.ctx, false))
		e.Done()
		require.Equal(t, mine, b.event(l, Assigned).Partitions)
		require.NoError(t, l.SendOffsets(b.ctx, offsets))
		require.NoError(t, l.EndTxn(b.ctx, true))
	})
}

// A member that learns by the answer to a join that it is in the group no more comes back under another id, and gets
// the same partitions. Others may have had them meanwhile: they are lost and assigned again, and nothing that was done
// before can be committed.
func TestAMemberThatIsPutOutAndJoinsAgainHasLostItsPartitions(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		admin := b.open(nil)
		topic := b.topic(admin, "in", 2)
		l := b.open(func(c *Config) {
			c.Group, c.Topics, c.TransactionalID = b.name("group"), []string{topic}, b.name("txn")
			c.SessionTimeout, c.HeartbeatInterval = 30*time.Second, 25*time.Second // which do not tell it
		})
		require.NoError(t, l.InitProducer(b.ctx))
		mine := b.event(l, Assigned).Partitions
		require.Len(t, mine, 2)
		member, _ := l.client.GroupMetadata()
		require.NoError(t, takeOut(b.ctx, admin.client, Config{Group: b.name("group"), RetryTimeout: patience}, member))

		l.Rejoin()
		require.Eventually(t, func() bool {
			now, _ := l.client.GroupMetadata()
			return now != member && now != ""
		}, 30*time.Second, 5*time.Millisecond)
		offsets := []Offset{{mine[0], 1, -1, ""}}
		require.Equal(t, Fenced, ClassOf(l.CommitOffsets(b.ctx, offsets)))
		require.Equal(t, Fenced, ClassOf(l.SendOffsets(b.ctx, offsets)))
		require.NoError(t, l.EndTxn(b.ctx, false))
		e := <-l.Events()
		require.Equal(t, Lost, e.Kind)
		require.Equal(t, mine, e.Partitions)
		require.Equal(t, Fenced, ClassOf(l.CommitOffsets(b.ctx, offsets)))
		e.Done()
		require.Equal(t, mine, b.event(l, Assigned).Partitions)
		require.NoError(t, l.CommitOffsets(b.ctx, offsets))
	})
}

func TestTheSuccessorOfAStaticMemberTakesItsPlaceAtOnce(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		admin := b.open(nil)
		topic := b.topic(admin, "in", 2)
		join := func() *Client {
			return b.open(func(c *Config) {
				c.Group, c.Topics, c.InstanceID = b.name("group"), []string{topic}, "worker-1"
				c.SessionTimeout = 2 * patience // it is not waited for
			})
		}
		first := join()
		mine := b.event(first, Assigned).Partitions
		require.NoError(t, first.CommitOffsets(b.ctx, []Offset{{mine[0], 1, -1, ""}}))
		second := join() // as after a crash: the first has not left
		require.Equal(t, mine, b.event(second, Assigned).Partitions)
		require.NoError(t, second.CommitOffsets(b.ctx, []Offset{{mine[0], 2, -1, ""}}))
		err := first.CommitOffsets(b.ctx, []Offset{{mine[0], 3, -1, ""}})
		require.Equal(t, Fatal, ClassOf(err), "%v", err)
	})
}

// leaveConn breaks twice: the first connection that a farewell goes to, and the next that is made.
type leaveConn struct {
	net.Conn
	cut *atomic.Int32 // how many were
}

func (c *leaveConn) Write(b []byte) (int, error) {
	victims := [...]kmsg.Key{kmsg.LeaveGroup, kmsg.ApiVersions}
	if cut := c.cut.Load(); cut < 2 && apiOf(b) == victims[cut] {
		c.cut.Store(cut + 1)
		return 0, errors.Join(errCut, c.Close())
	}
	return c.Conn.Write(b)
}

func TestAMemberLeavesOverAConnectionThatBreaks(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		admin := b.open(nil)
		topic := b.topic(admin, "in", 1)
		var cut atomic.Int32
		l := b.open(func(c *Config) {
			c.Group, c.Topics = b.name("group"), []string{topic}
			c.Client = b.over(func(conn net.Conn) net.Conn { return &leaveConn{conn, &cut} })
		})
		b.event(l, Assigned)
		l.Close()
		require.EqualValues(t, 2, cut.Load())
		groups, err := admin.Admin().DescribeGroups(b.ctx, b.name("group"))
		require.NoError(t, err)
		require.Empty(t, groups[b.name("group")].Members)
	})
}

// A member is one until it has left, also while the group rebalances.
func TestConfirmMember(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		admin := b.open(nil)
		topic, name := b.topic(admin, "in", 2), b.name("group")
		first := b.member(name, "", topic)
		b.event(first, Assigned)
		require.NoError(t, first.ConfirmMember(b.ctx))
		second := b.member(name, "", topic)
		b.event(first, Revoked) // which is not done with, so the rebalance waits
		require.NoError(t, first.ConfirmMember(b.ctx))
		id, _ := first.client.GroupMetadata()
		require.NoError(t, takeOut(b.ctx, admin.client, Config{Group: name, RetryTimeout: patience}, id))
		require.ErrorContains(t, first.ConfirmMember(b.ctx), "UNKNOWN_MEMBER_ID")
		second.Close()
	})
}

func TestDeleteRetentions(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.open(nil)
		var specs []TopicSpec
		for name, ms := range map[string]string{"minute": "60000", "ever": "9223372036854775807"} {
			specs = append(specs, TopicSpec{
				Name: b.name(name), Partitions: 1, Config: map[string]string{deleteRetentionMS: ms},
			})
		}
		require.NoError(t, l.Topics().Ensure(b.ctx, specs))
		plain := b.topic(l, "plain", 1)
		got, err := l.Topics().DeleteRetentions(b.ctx, b.name("minute"), b.name("ever"), plain, b.name("missing"))
		require.NoError(t, err)
		require.Equal(t, time.Minute, got[b.name("minute")])
		require.Greater(t, got[b.name("ever")], 200*365*24*time.Hour)
		require.Equal(t, 24*time.Hour, got[plain])
		require.Len(t, got, 3)
	})
}

func TestRetentionLimits(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.open(nil)
		var specs []TopicSpec
		for name, config := range map[string]map[string]string{
			"hour": {"retention.ms": "3600000", "retention.bytes": "-1"},
			"both": {"retention.ms": "3600000", "retention.bytes": "1000000"},
			"ever": {"retention.ms": "-1", "retention.bytes": "-1"},
		} {
			specs = append(specs, TopicSpec{Name: b.name(name), Partitions: 1, Config: config})
		}
		require.NoError(t, l.Topics().Ensure(b.ctx, specs))
		got, err := l.Topics().RetentionLimits(b.ctx, b.name("hour"), b.name("both"), b.name("ever"), b.name("missing"))
		require.NoError(t, err)
		require.Equal(t, map[string]string{
			b.name("hour"): "retention.ms=3600000",
			b.name("both"): "retention.ms=3600000, retention.bytes=1000000",
			b.name("ever"): "",
		}, got)
	})
}
