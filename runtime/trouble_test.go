package runtime_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/runtime"
	"thalweg/topology"
)

func line(text string) *kgo.Record {
	return &kgo.Record{Topic: "lines", Partition: 0, Value: []byte(text)}
}

func TestPanicFailsTheApplication(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			h := newHarness(t)
			h.create(1, "dead")
			cfg := h.config()
			cfg.Guarantee = guarantee
			cfg.Errors = topology.Errors{Process: topology.DeadLetterAndFail, DeadLetters: "dead"}
			app := h.start(words(t, byWord), cfg).settled()
			h.feed(100)
			h.await()
			h.produce(line("panic!"))
			err := app.fails()
			require.ErrorContains(t, err, "node split (")
			require.ErrorContains(t, err, "/runtime/harness_test.go:")
			require.ErrorContains(t, err, "a bad line")
			require.Equal(t, runtime.Failed, app.State())
			var pe *topology.ProcessingError
			require.ErrorAs(t, err, &pe)
			require.Equal(t, "lines", pe.Metadata.Topic)
			h.exact() // what was committed before stays, and nothing came after
			requireDeadLetter(t, h)
		})
	}
}

func TestPanicIsSkipped(t *testing.T) {
	h := newHarness(t)
	h.create(1, "dead")
	cfg := h.config()
	cfg.Errors = topology.Errors{Process: topology.DeadLetter, DeadLetters: "dead"}
	app := h.start(words(t, byWord), cfg).settled()
	h.feed(100)
	h.produce(line("panic!"))
	h.feed(100)
	h.await()
	app.stop()
	h.exact()
	requireDeadLetter(t, h)
	for _, n := range app.Stats().Nodes {
		switch n.Node {
		case "lines":
			require.EqualValues(t, 201, n.Processed)
		case "split":
			require.Equal(t, map[string]int64{"skipped": 1}, n.Dropped)
		case "count":
			require.Equal(t, h.total, n.Processed)
		}
	}
}

func requireDeadLetter(t *testing.T, h *harness) {
	t.Helper()
	dead := h.read("dead")
	require.Len(t, dead, 1)
	require.Equal(t, "panic!", string(dead[0].Value))
	headers := map[string]string{}
	for _, hd := range dead[0].Headers {
		headers[hd.Key] = string(hd.Value)
	}
	require.Equal(t, "a bad line", headers["__streams.errors.message"])
	require.Equal(t, "lines", headers["__streams.errors.topic"])
}

func TestInternalTopicsAreChecked(t *testing.T) {
	t.Run("partition count", func(t *testing.T) {
		h := newHarness(t)
		h.create(3, "wordcount-by-word-changelog")
		err := h.start(words(t, byWord), h.config()).fails()
		require.ErrorContains(t, err, `"wordcount-by-word-changelog" has 3 partitions`)
		require.ErrorIs(t, err, runtime.ErrTopicShape)
		require.ErrorContains(t, err, "needs 4")
	})
	t.Run("cleanup policy", func(t *testing.T) {
		h := newHarness(t)
		_, err := h.admin.CreateTopic(h.ctx, 4, 1, map[string]*string{"cleanup.policy": kadm.StringPtr("delete")},
			"wordcount-by-word-changelog")
		require.NoError(t, err)
		err = h.start(words(t, byWord), h.config()).fails()
		require.ErrorContains(t, err, "cleanup.policy")
	})
}

func TestStateDirectoryInUse(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	cfg.State.FS, cfg.State.Dir = nil, t.TempDir()
	first := h.start(words(t, byWord), cfg).settled()
	err := h.start(words(t, byWord), cfg).fails()
	require.ErrorContains(t, err, "in use by this process")
	require.ErrorIs(t, err, runtime.ErrStateInUse)
	require.ErrorContains(t, err, cfg.State.Dir)
	h.feed(50)
	h.await()
	first.stop()
	second := h.start(words(t, byWord), cfg).settled()
	h.feed(50)
	h.await()
	second.stop()
	h.exact()
}

func TestUnreachableBroker(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	cfg.Broker, cfg.Seeds, cfg.StartTimeout = nil, []string{unusedAddress(t)}, 300*time.Millisecond
	err := h.start(words(t, byWord), cfg).fails()
	require.ErrorContains(t, err, cfg.Seeds[0])
	require.ErrorContains(t, err, "is the broker running")
}

// TestCloseWhileConnecting: who is asked to stop before the broker has answered has not failed.
func TestCloseWhileConnecting(t *testing.T) {
	h := newHarness(t)
	for range 5 {
		cfg := h.config()
		cfg.Broker, cfg.Seeds = nil, []string{unusedAddress(t)}
		tried := make(chan struct{}, 1)
		cfg.ClientOptions = runtime.Options(kgo.Dialer(func(ctx context.Context, network, addr string) (net.Conn, error) {
			select {
			case tried <- struct{}{}:
			default:
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}))
		app := h.start(words(t, byWord), cfg)
		<-tried
		app.stop()
		require.Equal(t, runtime.Closed, app.State())
	}
}

// unusedAddress is one at which nobody listens.
func unusedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// TestFencedWorker lets somebody else take the worker's transactional id in the middle of a run.
func TestFencedWorker(t *testing.T) {
	h := newHarness(t)
	cfg := h.config()
	rewound := make(chan error, 100)
	cfg.Hooks.Rewound = func(_ int, cause error) { rewound <- cause }
	app := h.start(words(t, byWord), cfg).settled()
	h.feed(200)
	h.await()
	for range 3 {
		h.fence(cfg)
		h.feed(200)
		select {
		case <-rewound:
		case <-time.After(patience):
			require.Fail(t, "the worker was not fenced")
		}
		h.await() // it has an identity of its own again
	}
	app.stop()
	h.exact()
}

// fence takes the transactional id of the application's first worker.
func (h *harness) fence(cfg runtime.Config) {
	h.t.Helper()
	f, err := cfg.State.FS.Open("state/wordcount/process")
	require.NoError(h.t, err)
	process, err := io.ReadAll(f)
	require.NoError(h.t, err)
	require.NoError(h.t, f.Close())
	name, _, _ := strings.Cut(string(process), "\n")
	id := "wordcount-" + name + "-0"
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID, req.TransactionTimeoutMillis = &id, 10_000
	resp, err := req.RequestWith(h.ctx, h.client)
	require.NoError(h.t, err)
	require.Zero(h.t, resp.ErrorCode)
}

// cuts is a network that breaks connections at random moments while it is on.
type cuts struct {
	mu     sync.Mutex
	random *rand.Rand
	on     atomic.Bool
	made   atomic.Int64
}

func (h *harness) cuts() *cuts { return &cuts{random: rand.New(rand.NewPCG(h.random.Uint64(), 2))} }

func (c *cuts) wrap(conn net.Conn) net.Conn { return &cutConn{Conn: conn, cuts: c} }

type cutConn struct {
	net.Conn
	cuts *cuts
}

// Write breaks the connection before or after what is written, once in a while.
func (c *cutConn) Write(p []byte) (int, error) {
	if !c.cuts.on.Load() {
		return c.Conn.Write(p)
	}
	c.cuts.mu.Lock()
	dice := c.cuts.random.IntN(25)
	c.cuts.mu.Unlock()
	if dice == 0 {
		c.cuts.made.Add(1)
		return 0, errors.Join(errors.New("cut before the request"), c.Close())
	}
	n, err := c.Conn.Write(p)
	if dice == 1 { // the broker acts on it, and the answer is lost
		c.cuts.made.Add(1)
		return n, errors.Join(err, c.Close())
	}
	return n, err
}

func TestBrokenConnections(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			h := newHarness(t)
			network := h.cuts()
			cfg := h.config()
			cfg.Guarantee, cfg.NoLocal, cfg.Workers = guarantee, true, 2
			cfg.ClientOptions = h.over(network.wrap)
			app := h.start(words(t, byWord), cfg).settled()
			network.on.Store(true)
			for range 30 {
				h.feed(50)
				h.await()
			}
			network.on.Store(false)
			app.stop()
			t.Logf("%d connections cut", network.made.Load())
			if guarantee == runtime.ExactlyOnce {
				h.exact()
			}
			h.atLeast()
		})
	}
}

func TestTheGroupIsMovedByHand(t *testing.T) {
	h := newHarness(t)
	log := new(lastLog)
	cfg := h.config()
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	app := h.start(words(t, byWord), cfg).settled()
	h.feed(50)
	h.await()
	app.stop()
	moved, err := h.admin.FetchOffsetsForTopics(h.ctx, "wordcount", "lines")
	require.NoError(t, err)
	by := kadm.Offsets{}
	moved.Each(func(o kadm.OffsetResponse) {
		if o.At >= 0 {
			o.Metadata = "moved by hand"
			by.Add(o.Offset)
		}
	})
	require.NotEmpty(t, by)
	require.NoError(t, h.admin.CommitAllOffsets(h.ctx, "wordcount", by))
	h.start(words(t, byWord), cfg).settled()
	h.feed(50)
	h.await()
	h.exact()
	log.mu.Lock()
	defer log.mu.Unlock()
	require.Equal(t, len(by["lines"]), strings.Count(string(log.buf), "moved by hand"))
}

// refusing is a network that breaks each connection on which a worker sends a request of one kind: from when a member
// joins a group, until it is over. The member itself would pause longer after each of its own that is refused.
type refusing struct {
	key          kmsg.Key
	joined, over atomic.Bool
	refused      atomic.Int64
}

func (r *refusing) wrap(conn net.Conn) net.Conn { return &refusingConn{conn, r} }

type refusingConn struct {
	net.Conn
	of *refusing
}

func (c *refusingConn) Write(b []byte) (int, error) {
	switch key := kmsg.Key(binary.BigEndian.Uint16(b[4:])); {
	case key == kmsg.JoinGroup:
		c.of.joined.Store(true)
	case key == c.of.key && c.of.joined.Load() && !c.of.over.Load() && bytes.Contains(b, []byte("worker-")):
		c.of.refused.Add(1)
		return 0, errors.Join(errors.New("refused"), c.Close())
	}
	return c.Conn.Write(b)
}

// A task whose restore can't begin, since nothing says where its changelog ends, is opened again later.
func TestATaskThatCannotBeginIsOpenedAgain(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		for _, key := range []kmsg.Key{kmsg.ListOffsets, kmsg.OffsetFetch} {
			h := newHarness(t)
			network := &refusing{key: key}
			cfg := h.config()
			cfg.Guarantee, cfg.RetryTimeout, cfg.ClientOptions = guarantee, 300*time.Millisecond, h.over(network.wrap)
			rewound := make(chan error, 100)
			cfg.Hooks.Rewound = func(_ int, cause error) { rewound <- cause }
			h.feed(50)
			app := h.start(words(t, byWord), cfg)
			for range 2 {
				select {
				case <-rewound:
				case <-time.After(patience):
					require.Fail(t, "the worker does not give up")
				}
			}
			network.over.Store(true)
			app.settled()
			h.await()
			app.stop()
			h.exact()
		}
	}
}
