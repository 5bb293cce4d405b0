package runtime_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/stream"
	"thalweg/topology"
)

var mapped = stream.NewTopic[string, string]("mapped")

// mapping writes what call makes of each line.
func mapping(t *testing.T, call func(line string) string) *topology.Topology {
	t.Helper()
	b := stream.NewBuilder()
	b.Stream(lines).MapValues(call).To(mapped)
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// slow takes five milliseconds.
func slow() { <-time.After(5 * time.Millisecond) }

// numbered adds lines to all partitions.
func (h *harness) numbered(n int) {
	h.t.Helper()
	records := make([]*kgo.Record, n)
	for i := range records {
		records[i] = &kgo.Record{Topic: "lines", Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)}
	}
	h.produce(records...)
}

// done is how many lines are committed, for any goroutine; 0 where nobody knows.
func (h *harness) done() (n int64) {
	offsets, err := h.admin.FetchOffsets(h.ctx, "wordcount")
	if err != nil {
		return 0
	}
	for _, o := range offsets["lines"] {
		n += o.At
	}
	return n
}

func rewinds(s runtime.Stats) (n int64) {
	for _, w := range s.Workers {
		n += w.Rewinds
	}
	return n
}

// Slow functions do not put off commits, however much waits to be processed.
func TestSlowRecordsAreCommittedInTime(t *testing.T) {
	t.Parallel()
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			t.Parallel()
			const records = 300
			h := newHarness(t)
			h.create(1, "mapped")
			h.numbered(records)
			var calls, furthest atomic.Int64 // the most records that were processed and not committed
			topo := mapping(t, func(line string) string {
				if n := calls.Add(1); n%20 == 0 {
					furthest.Store(max(furthest.Load(), n-h.done()))
				}
				slow()
				return line
			})
			cfg := h.config()
			cfg.Guarantee, cfg.CommitInterval = guarantee, 50*time.Millisecond
			h.start(topo, cfg).caughtUp().stop()
			require.EqualValues(t, records, calls.Load())
			require.Less(t, furthest.Load(), int64(records/2))
			require.Len(t, h.read("mapped"), records)
		})
	}
}

// leap is what a call takes of the broker's time: more than a transaction may.
const leap = 12 * time.Second

// leaping is a harness whose clock, which is the broker's and the application's, goes on by itself, and leaps in calls.
type leaping struct {
	*harness
	mu    sync.Mutex
	clock *brokertest.Clock
	cfg   runtime.Config
}

func newLeaping(t *testing.T) *leaping {
	clock := brokertest.NewClock()
	l := &leaping{harness: newHarness(t, brokertest.At(clock)), clock: clock}
	l.create(1, "mapped")
	l.cfg = l.config()
	l.cfg.Clock = clock.Now
	l.cfg.SessionTimeout = 20 * time.Minute // heartbeats go by another clock
	l.cfg.Limits.BatchBytes = 1 << 10       // each record fills a batch, which need not wait for the commit
	l.cfg.CommitInterval = 5 * time.Second
	ticker, done := time.NewTicker(10*time.Millisecond), make(chan struct{})
	t.Cleanup(func() {
		ticker.Stop()
		close(done)
	})
	go func() {
		for {
			select {
			case <-ticker.C:
				l.advance(10 * time.Millisecond)
			case <-done:
				return
			}
		}
	}()
	return l
}

func (l *leaping) advance(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock.Advance(d)
}

// line adds a line, from any goroutine.
func (l *leaping) line(text string) error {
	r := &kgo.Record{Topic: "lines", Key: []byte("k"), Value: []byte(text), Timestamp: l.clock.Now()}
	return l.client.ProduceSync(l.ctx, r).FirstErr()
}

// big is a value that fills a batch.
func big(line string) string { return line + strings.Repeat(".", 2<<10) }

// A call that takes longer than a transaction may is committed with what it makes, before the next one, and repeated by
// nothing.
func TestCallsLongerThanATransactionAreCommittedOneByOne(t *testing.T) {
	for _, remote := range []bool{false, true} {
		t.Run(fmt.Sprintf("remote %v", remote), func(t *testing.T) {
			const records = 6
			h := newLeaping(t)
			h.cfg.NoLocal = remote
			var committed []int64 // when a call begins
			topo := mapping(t, func(line string) string {
				committed = append(committed, h.done())
				if len(committed) < records {
					_ = h.line("next") // it waits for the worker when the call ends
				}
				h.advance(leap)
				return big(line)
			})
			app := h.start(topo, h.cfg).settled()
			require.NoError(t, h.line("first"))
			require.Eventually(t, func() bool { return h.done() == records }, patience, poll)
			app.stop()
			require.Equal(t, []int64{0, 1, 2, 3, 4, 5}, committed)
			require.Zero(t, rewinds(app.Stats()))
			require.Len(t, h.read("mapped"), records)
		})
	}
}

// A call that is long after many that were not may find a transaction open, and take it down. From then on records wait
// for the commit, in memory.
func TestALongCallFindsATransactionOpenOnce(t *testing.T) {
	h := newLeaping(t)
	h.cfg.NoLocal = true
	calls := make(chan string, 100)
	topo := mapping(t, func(line string) string {
		calls <- line
		if line == "long" {
			h.advance(leap)
		}
		return big(line)
	})
	app := h.start(topo, h.cfg).settled()
	send := func(line string) {
		require.NoError(t, h.line(line))
		require.Equal(t, line, <-calls)
	}
	send("short")
	require.Eventually(t, func() bool { return h.end("mapped") > 0 }, patience, poll, "the transaction is open")
	send("long")
	require.Equal(t, []string{"short", "long"}, []string{<-calls, <-calls}, "both once more")
	require.Eventually(t, func() bool { return h.done() == 2 }, patience, poll)
	for n := int64(4); n < 10; n += 2 {
		send("short")
		send("long")
		require.Eventually(t, func() bool { return h.done() == n }, patience, poll)
	}
	app.stop()
	require.EqualValues(t, 1, rewinds(app.Stats()))
	require.Empty(t, calls)
	require.Len(t, h.read("mapped"), 8)
}

// A process gets its share while another one is in slow functions, with much to do.
func TestASecondProcessGetsItsShareOfSlowRecords(t *testing.T) {
	t.Parallel()
	const records = 4000 // 20 s of calls for one process
	h := newHarness(t)
	h.create(1, "mapped")
	h.numbered(records)
	var calls [2]atomic.Int64
	apps := make([]*running, 2)
	for i := range apps {
		cfg := h.config()
		apps[i] = h.start(mapping(t, func(line string) string {
			calls[i].Add(1)
			slow()
			return line
		}), cfg).settled()
	}
	require.Eventually(t, func() bool { return calls[1].Load() > 0 || calls[0].Load() >= records }, patience, poll)
	require.Less(t, calls[0].Load(), int64(records), "the first process has done all of the work")
	for _, app := range apps {
		app.stop()
		require.Zero(t, rewinds(app.Stats()))
	}
}
