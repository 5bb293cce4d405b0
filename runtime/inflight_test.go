package runtime_test

import (
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/runtime"
	"thalweg/topology"
)

// toll holds requests of one kind up on their way to the broker.
type toll struct {
	kind    kmsg.Key
	closed  atomic.Bool
	waiting atomic.Int64
	open    chan struct{}
}

func newToll(kind kmsg.Key) *toll { return &toll{kind: kind, open: make(chan struct{})} }

// close holds up the requests from now on.
func (t *toll) close() { t.closed.Store(true) }

// release lets all pass, once and for all.
func (t *toll) release() {
	t.closed.Store(false)
	close(t.open)
}

type tolled struct {
	net.Conn
	*toll
}

func (c tolled) Write(b []byte) (int, error) {
	if len(b) >= 6 && kmsg.Key(binary.BigEndian.Uint16(b[4:])) == c.kind && c.closed.Load() {
		c.waiting.Add(1)
		<-c.open
	}
	return c.Conn.Write(b)
}

// inFlight is a word count whose next commit is held up when its lines are processed.
type inFlight struct {
	*harness
	*toll
	cfg   runtime.Config
	lines atomic.Int64 // processed
	fails atomic.Int64 // of the lines "fail" the next ones
	app   *running
}

var errInFlight = errors.New("a line fails")

func newInFlight(t *testing.T, guarantee runtime.Guarantee, kind kmsg.Key) *inFlight {
	t.Helper()
	h := newHarness(t)
	f := &inFlight{harness: h, toll: newToll(kind), cfg: h.config()}
	f.cfg.Guarantee = guarantee
	f.cfg.ClientOptions = h.over(func(c net.Conn) net.Conn { return tolled{c, f.toll} })
	return f
}

// begin starts the application and lets it process a line whose commit is held up.
func (f *inFlight) begin() {
	f.t.Helper()
	topo := wordsUnless(f.t, byWord, func(line string) error {
		f.lines.Add(1)
		if strings.HasPrefix(line, "fail") && f.fails.Add(-1) >= 0 {
			return errInFlight
		}
		return nil
	})
	f.app = f.start(topo, f.cfg).settled()
	f.close()
	f.feed(1)
	require.Eventually(f.t, func() bool { return f.waiting.Load() > 0 }, patience, poll)
}

// line adds a line of one partition.
func (f *inFlight) line(line string) {
	f.t.Helper()
	for word := range strings.FieldsSeq(line) {
		f.want[word]++
	}
	f.produce(&kgo.Record{Topic: "lines", Partition: 0, Key: []byte("0"), Value: []byte(line)})
}

func (f *inFlight) processed(lines int64) {
	f.t.Helper()
	require.Eventually(f.t, func() bool { return f.lines.Load() >= lines }, patience, poll)
}

var guarantees = map[runtime.Guarantee]kmsg.Key{
	runtime.ExactlyOnce: kmsg.EndTxn, runtime.AtLeastOnce: kmsg.OffsetCommit,
}

// A worker processes while the broker ends its transaction, or takes its offsets, and commits that next.
func TestWorkGoesOnDuringACommit(t *testing.T) {
	for guarantee, kind := range guarantees {
		t.Run(guarantee.String(), func(t *testing.T) {
			f := newInFlight(t, guarantee, kind)
			f.begin()
			f.feed(20)
			f.processed(21)
			f.release()
			f.app.caughtUp().stop()
			require.Equal(t, int64(21), f.lines.Load())
			f.exact()
		})
	}
}

// What a failure takes back is what came after the commit under way.
func TestAFailureDuringACommit(t *testing.T) {
	for guarantee, kind := range guarantees {
		t.Run(guarantee.String(), func(t *testing.T) {
			f := newInFlight(t, guarantee, kind)
			f.cfg.Errors = topology.Errors{Process: topology.Retry{Attempts: 3, Then: topology.Fail}}
			f.fails.Store(1)
			f.begin()
			f.line("more words")
			f.processed(2)
			f.line("fail here")
			f.processed(3)
			f.release()
			f.app.caughtUp().stop()
			require.Equal(t, int64(5), f.lines.Load(), "the first line once, the others twice")
			if guarantee == runtime.ExactlyOnce {
				f.exact()
			} else {
				f.atLeast()
			}
		})
	}
}

// A commit that fails takes back what came after it, too.
func TestACommitFailsDuringWork(t *testing.T) {
	for guarantee, kind := range map[runtime.Guarantee]kmsg.Key{
		runtime.ExactlyOnce: kmsg.TxnOffsetCommit, runtime.AtLeastOnce: kmsg.OffsetCommit,
	} {
		t.Run(guarantee.String(), func(t *testing.T) {
			f := newInFlight(t, guarantee, kind)
			var rewinds atomic.Int64
			f.cfg.Hooks.Rewound = func(int, error) { rewinds.Add(1) }
			f.begin()
			f.feed(20)
			f.processed(21)
			f.expel()
			f.release()
			f.app.caughtUp().stop()
			require.NotZero(t, rewinds.Load())
			require.GreaterOrEqual(t, f.lines.Load(), int64(42), "each line at least twice")
			if guarantee == runtime.ExactlyOnce {
				f.exact()
			} else {
				f.atLeast()
			}
		})
	}
}

// What is processed during a commit waits in memory, up to a limit. A commit that does not end is a stall.
func TestACommitUnderWayBoundsWhatWaits(t *testing.T) {
	const lines, bytesMax = 2000, 64 << 10
	f := newInFlight(t, runtime.ExactlyOnce, kmsg.EndTxn)
	stalled := make(chan runtime.Stall, 1)
	f.cfg.Limits.ProduceBytesMax, f.cfg.StallTimeout = bytesMax, time.Second
	f.cfg.Hooks.Stalled = func(s runtime.Stall) {
		select {
		case stalled <- s:
		default:
		}
	}
	f.begin()
	word := strings.Repeat("x", 1000)
	for range lines {
		f.line(word)
	}
	f.processed(1 + bytesMax/4/2/1000)
	require.Equal(t, "committing", (<-stalled).Doing)
	require.Less(t, f.lines.Load(), int64(lines))
	f.release()
	f.app.caughtUp().stop()
	f.exact()
}

// A task goes to another worker when the commit under way of its former one has ended, and what came after it.
func TestATaskStaysUntilTheCommitUnderWayHasEnded(t *testing.T) {
	f := newInFlight(t, runtime.ExactlyOnce, kmsg.EndTxn)
	var early, moved atomic.Int64
	f.cfg.Hooks.TaskChanged = func(e runtime.TaskEvent) {
		switch {
		case e.Worker != 1 || e.State != "running":
		case f.closed.Load():
			early.Add(1)
		default:
			moved.Add(1)
		}
	}
	f.begin()
	f.feed(20)
	f.processed(21)
	require.NoError(t, f.app.SetWorkers(2))
	require.Eventually(t, func() bool { return len(f.app.Stats().Pending) > 0 }, patience, poll)
	f.release()
	require.Eventually(t, func() bool { return moved.Load() > 0 }, patience, poll)
	f.app.caughtUp().stop()
	require.Zero(t, early.Load())
	require.Equal(t, int64(21), f.lines.Load())
	f.exact()
}
