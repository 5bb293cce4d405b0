package runtime_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/topology"
)

// tickEvery is the time between two records of a ticker.
const tickEvery = 50 * time.Millisecond

// ticker sends its name every now and then, whatever its input does. The record "panic!" panics.
type ticker struct {
	c     *topology.Context[string, string]
	name  string
	fired *atomic.Int64
}

func (p *ticker) Init(c *topology.Context[string, string]) error {
	p.c = c
	_, err := c.Schedule(tickEvery, topology.WallClock, func(now int64) error {
		p.fired.Add(1)
		return c.Forward(topology.Record[string, string]{Key: "tick", Value: p.name, Timestamp: now})
	})
	return err
}

func (p *ticker) Process(r topology.Record[string, string]) error {
	if r.Value == "panic!" {
		panic("a bad line")
	}
	return nil
}

func ticking(t *testing.T, name string, fired *atomic.Int64) *topology.Topology {
	t.Helper()
	b := topology.NewBuilder()
	b.Source("ins", topology.NewTopic[string, string]("ins")).
		Process("tick", func() *ticker { return &ticker{name: name, fired: fired} }).
		Sink("ticks", topology.NewTopic[string, string]("ticks"))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// handClock stands still until the test moves it, like that of a process that is stopped.
type handClock struct{ millis atomic.Int64 }

func newHandClock() *handClock {
	c := new(handClock)
	c.millis.Store(time.Now().UnixMilli())
	return c
}

func (c *handClock) now() time.Time          { return time.UnixMilli(c.millis.Load()) }
func (c *handClock) advance(d time.Duration) { c.millis.Add(d.Milliseconds()) }

// expel takes the members out of the application's group, as the end of their sessions does.
func (h *harness) expel() {
	h.t.Helper()
	groups, err := h.admin.DescribeGroups(h.ctx, "wordcount")
	require.NoError(h.t, err)
	require.NotEmpty(h.t, groups["wordcount"].Members)
	req := kmsg.NewPtrLeaveGroupRequest()
	req.Group = "wordcount"
	for _, m := range groups["wordcount"].Members {
		member := kmsg.NewLeaveGroupRequestMember()
		member.MemberID = m.MemberID
		req.Members = append(req.Members, member)
	}
	resp, err := req.RequestWith(h.ctx, h.client)
	require.NoError(h.t, err)
	require.Zero(h.t, resp.ErrorCode)
}

// silent are the options of a member that sends no heartbeats for 40 s, once it has sent the first: franz-go sends that
// half a second after each join. answered waits for its answer; a member that is expelled before hears of it.
func (h *harness) silent() (options runtime.ClientOptions, answered func()) {
	first := make(chan struct{})
	heard := sync.OnceFunc(func() { close(first) })
	wrap := func(conn net.Conn) net.Conn { return &heartbeatConn{Conn: conn, heard: heard} }
	options = runtime.Options(
		kgo.Dialer(brokertest.Wrapped(h.broker.Dial, wrap)), kgo.HeartbeatInterval(40*time.Second))
	return options, func() {
		h.t.Helper()
		select {
		case <-first:
		case <-time.After(patience):
			require.Fail(h.t, "the member sends no heartbeat")
		}
	}
}

// heartbeatConn calls heard when the connection's client, the member of the group, has got the answer to a heartbeat.
type heartbeatConn struct {
	net.Conn
	heard func()
	asked atomic.Bool
}

func (c *heartbeatConn) Write(b []byte) (int, error) {
	const header = 14 // size, key, version, correlation id, length of the client id
	if len(b) > header && kmsg.Key(binary.BigEndian.Uint16(b[4:])) == kmsg.Heartbeat {
		id := b[header:min(len(b), header+int(binary.BigEndian.Uint16(b[header-2:])))]
		if bytes.HasSuffix(id, []byte("-member")) {
			c.asked.Store(true)
		}
	}
	return c.Conn.Write(b)
}

func (c *heartbeatConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 && c.asked.Load() {
		c.heard()
	}
	return n, err
}

// ticks counts the committed records of each ticker. Those of the first must come before those of the second.
func (h *harness) ticks(first, second string) (n map[string]int) {
	h.t.Helper()
	n = map[string]int{}
	for _, r := range h.read("ticks") {
		name := string(r.Value)
		if name == first {
			require.Zero(h.t, n[second], "a record of %s is committed after those of %s", first, second)
		}
		n[name]++
	}
	return n
}

// zombie is an application with a task that it has lost, without knowing it: its clock stands still and it sends no
// heartbeats, while its successor ticks.
type zombie struct {
	*running
	clock     *handClock
	fired     atomic.Int64
	rewinds   atomic.Int64
	successor *running
}

func (h *harness) zombie(configure func(*runtime.Config)) *zombie {
	h.t.Helper()
	h.create(1, "ins")
	h.create(1, "ticks")
	z := &zombie{clock: newHandClock()}
	cfg := h.config()
	var answered func()
	cfg.Clock = z.clock.now
	cfg.ClientOptions, answered = h.silent()
	cfg.Hooks.Rewound = func(int, error) { z.rewinds.Add(1) }
	configure(&cfg)
	z.running = h.start(ticking(h.t, "zombie", &z.fired), cfg).settled()
	z.tick()
	require.Eventually(h.t, func() bool { return len(h.read("ticks")) == 1 || z.rewinds.Load() > 0 }, patience, poll)
	answered()
	h.expel()
	other := h.config()
	other.State.FS = vfs.NewMem()
	configure(&other)
	z.successor = h.start(ticking(h.t, "successor", new(atomic.Int64)), other).settled()
	require.Eventually(h.t, func() bool { return h.ticks("zombie", "successor")["successor"] > 0 }, patience, poll)
	return z
}

// tick lets the application send one record and commit it.
func (z *zombie) tick() {
	before := z.fired.Load()
	z.clock.advance(tickEvery)
	require.Eventually(z.h.t, func() bool { return z.fired.Load() > before }, patience, poll)
	z.clock.advance(tickEvery - time.Millisecond)
}

// A process that was stopped, and whose task another has since, commits nothing more, though what it writes follows
// from no input. At least once it can't take back what it has written, but finds out.
func TestAZombieThatNoInputWakes(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			h := newHarness(t)
			z := h.zombie(func(cfg *runtime.Config) { cfg.Guarantee = guarantee })
			z.tick()
			require.Eventually(t, func() bool {
				if guarantee == runtime.ExactlyOnce {
					h.ticks("zombie", "successor")
				}
				return z.rewinds.Load() > 0
			}, patience, poll)
			if guarantee == runtime.ExactlyOnce {
				require.Equal(t, 1, h.ticks("zombie", "successor")["zombie"])
			}
			z.successor.stop()
		})
	}
}

// A dead letter that stops the application is in no transaction of a record: that of a zombie is the second one.
func TestADeadLetterOfAZombie(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			h := newHarness(t)
			h.create(1, "dead")
			z := h.zombie(func(cfg *runtime.Config) {
				cfg.Guarantee = guarantee
				cfg.Errors = topology.Errors{Process: topology.DeadLetterAndFail, DeadLetters: "dead"}
			})
			h.produce(&kgo.Record{Topic: "ins", Key: []byte("k"), Value: []byte("panic!")})
			require.ErrorContains(t, z.successor.fails(), "a bad line")
			require.ErrorContains(t, z.fails(), "a bad line")
			require.Len(t, h.read("dead"), 1)
		})
	}
}
