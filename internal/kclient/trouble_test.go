package kclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
)

// cutter makes connections break at random moments: before a write, or after it, so that the answer is lost.
type cutter struct {
	mu  sync.Mutex
	rng *rand.Rand
	off bool
}

func newCutter(seed uint64) *cutter { return &cutter{rng: rand.New(rand.NewPCG(seed, 1))} }

func (c *cutter) wrap(conn net.Conn) net.Conn { return &cutConn{conn, c} }

func (c *cutter) throw(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.off && c.rng.IntN(n) == 0
}

type cutConn struct {
	net.Conn
	cutter *cutter
}

var errCut = errors.New("cut by the test")

func (c *cutConn) Write(b []byte) (int, error) {
	if c.cutter.throw(40) {
		c.Close()
		return 0, errCut
	}
	n, err := c.Conn.Write(b)
	if err == nil && c.cutter.throw(40) {
		c.Close()
	}
	return n, err
}

// over reaches the bench's broker over connections with something around them.
func (b *bench) over(wrap func(net.Conn) net.Conn) []kgo.Opt {
	dial := (&net.Dialer{}).DialContext
	if b.base.Broker != nil {
		dial = b.base.Broker.Dial
	}
	return []kgo.Opt{kgo.Dialer(brokertest.Wrapped(dial, wrap))}
}

// silent is a connection that the other side closes before it answers, as a broker does that is killed.
type silent struct{ net.Conn }

func (silent) Read([]byte) (int, error) { return 0, io.EOF }

// A broker that is killed while it answers the first request of a connection looks to franz-go like one that wants TLS:
// it does not try again by itself.
func TestPartitionCountsOutliveABrokerThatIsKilled(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		var mu sync.Mutex
		var open []net.Conn
		away := 0
		c := b.open(func(cfg *Config) {
			cfg.Client = b.over(func(conn net.Conn) net.Conn {
				mu.Lock()
				defer mu.Unlock()
				if away--; away >= 0 {
					return silent{conn}
				}
				open = append(open, conn)
				return conn
			})
		})
		topic := b.topic(c, "in", 3)
		mu.Lock()
		away = 2
		for _, conn := range open {
			require.NoError(t, conn.Close())
		}
		mu.Unlock()
		killed := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return away < 0
		}
		for !killed() { // what the client knows answers it at first
			counts, err := c.PartitionCounts(b.ctx, topic)
			require.NoError(t, err)
			require.EqualValues(t, 3, counts[topic])
		}
	})
}

// copier is a worker that copies numbers, whose group offset says how many it has copied.
type copier struct {
	b    *bench
	l    *Client
	out  string
	from TopicPartition // whose committed offset counts
	next int64
}

// step copies some more and does what errors ask for.
func (c *copier) step(n int64) {
	ctx := c.b.ctx
	err := c.try(n)
	if err == nil {
		c.next += n
		c.l.TakeProduced(nil)
		return
	}
	if ClassOf(err) == Abort {
		if err = c.l.EndTxn(ctx, false); err == nil {
			c.l.TakeProduced(nil)
			return
		}
	}
	require.NotEqual(c.b.t, Fatal, ClassOf(err), "%v", err)
	require.NoError(c.b.t, c.l.InitProducer(ctx))
	c.l.TakeProduced(nil)
	committed, err := c.l.CommittedOffsets(ctx, []TopicPartition{c.from})
	require.NoError(c.b.t, err)
	c.next = max(committed[c.from].Next, 0)
}

func (c *copier) try(n int64) error {
	var items []Item
	for i := range n {
		items = append(items, item(c.out, int32((c.next+i)%2), fmt.Sprint(c.next+i)))
	}
	if err := c.l.Produce(c.b.ctx, items); err != nil {
		return err
	}
	if err := c.l.SendOffsets(c.b.ctx, []Offset{{c.from, c.next + n, -1, ""}}); err != nil {
		return err
	}
	return c.l.EndTxn(c.b.ctx, true)
}

// drainEvents lets a group go its way until the client is closed.
func drainEvents(c *Client) {
	for {
		select {
		case e := <-c.Events():
			e.Done()
		case <-c.closed:
			return
		}
	}
}

// A start that meets a connection that breaks goes on.
func TestEnsureTopicsOverConnectionsThatBreak(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		cut := newCutter(seed)
		l := b.open(func(c *Config) { c.Client = b.over(cut.wrap) })
		for round := range 80 {
			spec := TopicSpec{Name: b.name(fmt.Sprintf("words-%d", round)), Partitions: 2}
			for range 2 { // made, and found
				require.NoError(t, l.Topics().Ensure(b.ctx, []TopicSpec{spec}))
			}
			n, err := l.Partitions(b.ctx, spec.Name)
			require.NoError(t, err)
			require.EqualValues(t, 2, n)
			_, err = l.RemoveMembers(b.ctx, b.name("group"), func(string) bool { return true })
			require.NoError(t, err)
		}
	})
}

func TestExactlyOnceOverConnectionsThatBreak(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		admin := b.open(nil)
		in, out := b.topic(admin, "in", 1), b.topic(admin, "out", 2)
		cut := newCutter(seed)
		cut.off = true // so that it opens
		l := b.open(func(c *Config) {
			c.Group, c.Topics, c.TransactionalID = b.name("group"), []string{in}, b.name("txn")
			c.Client = b.over(cut.wrap)
			c.RetryTimeout = 20 * time.Second
		})
		b.event(l, Assigned)
		go drainEvents(l)
		require.NoError(t, l.InitProducer(b.ctx))
		cut.mu.Lock()
		cut.off = false
		cut.mu.Unlock()

		rng := rand.New(rand.NewPCG(seed, 2))
		c := &copier{b: b, l: l, out: out, from: TopicPartition{in, 0}}
		const n = 150
		for c.next < n {
			c.step(min(1+rng.Int64N(8), n-c.next))
		}
		cut.mu.Lock()
		cut.off = true
		cut.mu.Unlock()
		for p := range 2 {
			var want []string
			for i := p; i < n; i += 2 {
				want = append(want, fmt.Sprint(i))
			}
			require.Equal(t, want, b.all(admin, TopicPartition{out, int32(p)}), "seed %d", seed)
		}
	})
}

func TestFetchingOverConnectionsThatBreak(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		writer := b.producer("")
		in := b.topic(writer, "in", 3)
		const n = 60
		for i := range n {
			b.produce(writer, item(in, 0, fmt.Sprint(i)), item(in, 1, fmt.Sprint(i)), item(in, 2, fmt.Sprint(i)))
		}
		cut := newCutter(seed)
		l := b.open(func(c *Config) {
			c.Client = b.over(cut.wrap)
			c.FetchBytesMax, c.FetchPartitionBytesMax = 400, 200
		})
		r := b.reader(l.Fetcher())
		for p := range int32(3) {
			l.Fetcher().Set(TopicPartition{in, p}, 0)
		}
		for p := range int32(3) {
			require.Equal(t, numbered("", n), r.until(TopicPartition{in, p}, n), "seed %d", seed)
		}
	})
}

// stuck is a transport whose produces wait until their context ends.
type stuck struct {
	transport
	entered chan struct{}
}

func (s *stuck) produce(ctx context.Context, _ int32, _ *produceRequest) ([]produceAnswer, error) {
	s.entered <- struct{}{}
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestAbortCutsAProduceShort(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.producer(b.name("txn"))
		topic := b.topic(l, "out", 1)
		s := &stuck{l.transport, make(chan struct{})}
		l.producer.transport = s
		require.NoError(t, l.Produce(b.ctx, []Item{item(topic, 0, "a"), item(topic, 0, "b")}))
		flushed := make(chan error)
		go func() { flushed <- l.Flush(b.ctx) }() // else nothing would be sent yet
		<-s.entered
		require.NoError(t, l.EndTxn(b.ctx, false))
		require.NoError(t, <-flushed)
		items := l.TakeProduced(nil)
		require.Len(t, items, 2)
		for _, it := range items {
			require.ErrorIs(t, it.Err, ErrDiscarded)
			require.EqualValues(t, -1, it.Next)
		}
		require.Zero(t, l.BufferedBytes())
		l.producer.transport = s.transport
		b.produce(l, item(topic, 0, "c"))
		require.NoError(t, l.EndTxn(b.ctx, true))
		require.Equal(t, []string{"c"}, b.all(l, TopicPartition{topic, 0}))
	})
}

func TestWhatIsProducedWhileATransactionEndsIsTheNextOnes(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		l := b.producer(b.name("txn"))
		topic := b.topic(l, "out", 1)
		p := l.producer
		require.NoError(t, l.Produce(b.ctx, []Item{item(topic, 0, "first")}))
		begun, err := p.beginEnd(b.ctx, true)
		require.NoError(t, err)
		require.True(t, begun)
		require.NoError(t, l.Produce(b.ctx, []Item{item(topic, 0, "next")})) // while the end is under way
		require.NoError(t, p.sendEnd(b.ctx, true))
		require.NoError(t, l.Flush(b.ctx))
		require.NoError(t, l.EndTxn(b.ctx, false))
		require.Equal(t, []string{"first"}, b.all(l, TopicPartition{topic, 0}))
	})
}
