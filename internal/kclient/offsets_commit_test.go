package kclient

import (
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// lateJoins makes answers to JoinGroup, once they are held, arrive only some time after the answer to an offset commit.
type lateJoins struct {
	held    atomic.Bool
	release chan struct{}
	once    sync.Once
}

func (d *lateJoins) wrap(conn net.Conn) net.Conn { return &lateConn{Conn: conn, joins: d} }

type lateConn struct {
	net.Conn
	joins *lateJoins
	asked atomic.Int32 // the API key of the last request
}

func (c *lateConn) Write(b []byte) (int, error) {
	c.asked.Store(int32(apiOf(b)))
	return c.Conn.Write(b)
}

// apiOf is the API key of a request, which franz-go writes at once, behind its length.
func apiOf(request []byte) kmsg.Key { return kmsg.Key(binary.BigEndian.Uint16(request[4:])) }

func (c *lateConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	switch kmsg.Key(c.asked.Load()) {
	case kmsg.JoinGroup:
		if c.joins.held.Load() {
			<-c.joins.release
		}
	case kmsg.OffsetCommit, kmsg.TxnOffsetCommit:
		if c.joins.held.Load() {
			time.AfterFunc(100*time.Millisecond, c.joins.letGo) // long enough for one who gives up to do so
		}
	}
	return n, err
}

func (d *lateJoins) letGo() { d.once.Do(func() { close(d.release) }) }

// While a join's answer is on its way the coordinator's generation is ahead of the member's. What it commits then is
// its own all the same.
func TestOffsetsAreCommittedWhileTheAnswerToAJoinIsOnItsWay(t *testing.T) {
	for _, transactional := range []bool{false, true} {
		name := map[bool]string{false: "offsets", true: "transaction"}[transactional]
		t.Run(name, func(t *testing.T) {
			onEveryBroker(t, func(t *testing.T, b *bench) {
				topic := b.topic(b.open(nil), "in", 2)
				joins := &lateJoins{release: make(chan struct{})}
				defer joins.letGo()
				join := func(change func(*Config)) *Client {
					return b.open(func(c *Config) {
						c.Group, c.Topics = b.name("group"), []string{topic}
						c.HeartbeatInterval = 50 * time.Millisecond
						change(c)
					})
				}
				l := join(func(c *Config) {
					c.Client = b.over(joins.wrap)
					if transactional {
						c.TransactionalID = b.name("txn")
					}
				})
				require.NoError(t, l.InitProducer(b.ctx))
				b.event(l, Assigned)
				go drainEvents(l)
				_, before := l.client.GroupMetadata()

				joins.held.Store(true)
				other := join(func(*Config) {})
				go drainEvents(other)
				require.Eventually(t, func() bool {
					_, generation := other.client.GroupMetadata()
					return generation > before
				}, patience, 5*time.Millisecond)
				_, generation := l.client.GroupMetadata()
				require.Equal(t, before, generation, "the member does not know yet")

				offsets := []Offset{{TopicPartition{topic, 0}, 7, -1, ""}}
				if transactional {
					require.NoError(t, l.SendOffsets(b.ctx, offsets))
					require.NoError(t, l.EndTxn(b.ctx, true))
				} else {
					require.NoError(t, l.CommitOffsets(b.ctx, offsets))
				}
				committed, err := l.CommittedOffsets(b.ctx, []TopicPartition{{topic, 0}})
				require.NoError(t, err)
				require.EqualValues(t, 7, committed[TopicPartition{topic, 0}].Next)
			})
		})
	}
}
