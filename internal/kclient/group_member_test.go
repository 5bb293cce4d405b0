package kclient

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// join makes a member of a group, with some clients that commit in its name.
func (b *bench) join(group, topic string, clients int) (*Member, []*Client) {
	b.t.Helper()
	cfg := b.base
	cfg.Group, cfg.Topics = group, []string{topic}
	cfg.SessionTimeout, cfg.HeartbeatInterval = 30*time.Second, 25*time.Second // which tell the member nothing
	m, err := NewMember(cfg)
	require.NoError(b.t, err)
	var all []*Client
	for i := range clients {
		l := b.open(func(c *Config) { c.Member, c.TransactionalID = m, b.name("txn"+string(rune('a'+i))) })
		require.NoError(b.t, l.InitProducer(b.ctx))
		all = append(all, l)
	}
	require.NoError(b.t, m.Join(b.ctx))
	b.t.Cleanup(m.Close)
	return m, all
}

// assigned waits for partitions and hands the clients their lease.
func (b *bench) assigned(m *Member, clients []*Client) Event {
	b.t.Helper()
	e := b.event(m, Assigned)
	for _, l := range clients {
		l.UseLease(e.Lease)
	}
	return e
}

// Many producers commit in the name of one member, at the same time, each in a transaction of its own (KIP-447).
func TestClientsCommitInTheNameOfOneMember(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		admin := b.open(nil)
		topic := b.topic(admin, "in", 2)
		m, clients := b.join(b.name("group"), topic, 2)
		require.Len(t, b.assigned(m, clients).Partitions, 2)
		for i, l := range clients {
			require.NoError(t, l.SendOffsets(b.ctx, []Offset{{TopicPartition{topic, int32(i)}, 5, -1, ""}}))
			require.NoError(t, l.ConfirmMember(b.ctx))
		}
		require.NoError(t, clients[0].EndTxn(b.ctx, true))
		require.NoError(t, clients[1].EndTxn(b.ctx, false))
		for i, want := range []int64{5, -1} {
			tp := TopicPartition{topic, int32(i)}
			got, err := clients[1-i].CommittedOffsets(b.ctx, []TopicPartition{tp})
			require.NoError(t, err)
			require.Equal(t, want, got[tp].Next)
		}
		require.NoError(t, clients[1].CommitOffsets(b.ctx, []Offset{{TopicPartition{topic, 1}, 7, -1, ""}}))
	})
}

// What was assigned to a membership that is lost can't be committed by any client of the process, though the process is
// in the group again and has the same partitions.
func TestALeaseEndsWithItsMembership(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		admin := b.open(nil)
		topic, name := b.topic(admin, "in", 1), b.name("group")
		m, clients := b.join(name, topic, 2)
		first := b.assigned(m, clients)
		held := []Offset{{TopicPartition{topic, 0}, 1, -1, ""}}
		require.NoError(t, clients[0].SendOffsets(b.ctx, held))

		id, _, ok := m.identity(first.Lease)
		require.True(t, ok)
		require.NoError(t, takeOut(b.ctx, admin.client, Config{Group: name, RetryTimeout: patience}, id))
		m.Rejoin()
		b.event(m, Lost)
		again := b.event(m, Assigned)
		require.NotEqual(t, first.Lease, again.Lease)
		clients[1].UseLease(again.Lease)

		require.Equal(t, Fenced, ClassOf(clients[0].SendOffsets(b.ctx, held)))
		require.Equal(t, Fenced, ClassOf(clients[0].CommitOffsets(b.ctx, held)))
		require.ErrorContains(t, clients[0].ConfirmMember(b.ctx), "UNKNOWN_MEMBER_ID")
		require.NoError(t, clients[0].InitProducer(b.ctx))
		require.NoError(t, clients[1].CommitOffsets(b.ctx, held))
		require.NoError(t, clients[1].ConfirmMember(b.ctx))
	})
}

// Generations in which a member keeps its partitions do not end their lease.
func TestALeaseLastsThroughGenerations(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		admin := b.open(nil)
		topic, name := b.topic(admin, "in", 2), b.name("group")
		m, clients := b.join(name, topic, 1)
		first := b.assigned(m, clients)
		m.Rejoin()
		again := b.event(m, Assigned)
		require.Greater(t, again.Generation, first.Generation)
		require.Equal(t, first.Lease, again.Lease)
		require.NoError(t, clients[0].CommitOffsets(b.ctx, []Offset{{TopicPartition{topic, 0}, 1, -1, ""}}))
	})
}

// What one client has learned of a broker another takes over without a connection of its own for it.
func TestAClientKnowsWhatAnotherHasLearned(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		first := b.open(nil)
		second, err := Open(b.ctx, Config{Seeds: []string{"127.0.0.1:1"}, OpenTimeout: time.Millisecond, Known: first})
		require.NoError(t, err, "nothing is asked")
		defer second.Close()
		require.Equal(t, first.implicit, second.implicit)
	})
}
