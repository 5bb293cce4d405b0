package runtime_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/runtime"
	"thalweg/topology"
)

// service is what lines that say "needs" need. It is away at first.
type service struct {
	back  atomic.Bool
	calls chan int64 // gets the number of each call
	n     atomic.Int64
}

func newService() *service { return &service{calls: make(chan int64, 1000)} }

func (s *service) call(line string) error {
	if line != "needs" {
		return nil
	}
	s.calls <- s.n.Add(1)
	if s.back.Load() {
		return nil
	}
	panic(errors.New("the service is away"))
}

// await waits for so many more calls.
func (s *service) await(t *testing.T, more int64) {
	t.Helper()
	for n := s.n.Load() + more; ; {
		select {
		case called := <-s.calls:
			if called >= n {
				return
			}
		case <-time.After(patience):
			require.Fail(t, "no call", "number %d", n)
		}
	}
}

// feedOthers adds lines to all partitions but that of the key.
func (h *harness) feedOthers(key string, lines int) {
	h.t.Helper()
	var records []*kgo.Record
	for i := 0; len(records) < lines; i++ {
		other := fmt.Sprint(i)
		if topology.PartitionFor([]byte(other), 4) != topology.PartitionFor([]byte(key), 4) {
			r := kgo.KeyStringRecord(other, "some words")
			r.Topic = "lines"
			records = append(records, r)
			h.want["some"]++
			h.want["words"]++
		}
	}
	h.produce(records...)
}

// text is a log that a test reads.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *text) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func waits(s runtime.Stats) (some bool) {
	for _, w := range s.Workers {
		for _, t := range w.Tasks {
			some = some || !t.RetryAt.IsZero()
		}
	}
	return some
}

// TestRetry: a service is away for ten minutes. The line that needs it waits with its partition; the same worker
// continues with the other partitions, and commits. In the end each line counts once.
func TestRetry(t *testing.T) {
	for _, guarantee := range []runtime.Guarantee{runtime.ExactlyOnce, runtime.AtLeastOnce} {
		t.Run(guarantee.String(), func(t *testing.T) {
			h := newHarness(t)
			s, log := newService(), new(text)
			cfg := h.config()
			var passed atomic.Int64
			cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
			cfg.Guarantee, cfg.Logger = guarantee, slog.New(slog.NewTextHandler(log, nil))
			cfg.Errors.Process = topology.Retry{First: time.Second, Attempts: 1000}
			app := h.start(wordsUnless(t, byWord, s.call), cfg).settled()
			r := kgo.KeyStringRecord("key", "needs")
			r.Topic = "lines"
			h.produce(r)
			require.Eventually(t, func() bool { return waits(app.Stats()) }, patience, poll)
			const step = 5 * time.Second
			for i := range 10 * time.Minute / step {
				if i%12 == 0 {
					h.feedOthers("key", 10)
					h.await() // committed, while the line waits
				}
				passed.Add(int64(step))
				require.NoError(t, app.Checkpoint(h.ctx)) // the worker has been in its loop since
			}
			for _, r := range h.read("counts") {
				require.NotEqual(t, "needs", string(r.Key))
			}
			s.back.Store(true)
			h.want["needs"]++
			passed.Add(int64(time.Minute))
			h.await()
			app.stop()
			if guarantee == runtime.ExactlyOnce {
				h.exact()
			}
			h.atLeast()
			require.Greater(t, s.n.Load(), int64(3))
			require.Less(t, s.n.Load(), int64(50), "the pauses grow")
			require.Contains(t, log.String(), "attempt=3 attempts=1000")
			require.Regexp(t, `panic: the service is away \(.*runtime/retry_test.go:\d+\)`, log.String())
			require.NotContains(t, log.String(), "going back to the last commit")
		})
	}
}

// TestRetryAfterAWorkerWasLost: the worker that takes the task over begins the attempts again, from the last commit.
func TestRetryAfterAWorkerWasLost(t *testing.T) {
	h := newHarness(t)
	s := newService()
	cfg := h.config()
	cfg.Errors.Process = topology.Retry{First: 5 * time.Millisecond, Max: 10 * time.Millisecond, Attempts: 1000}
	app := h.start(wordsUnless(t, byWord, s.call), cfg).settled()
	r := kgo.KeyStringRecord("key", "needs")
	r.Topic = "lines"
	h.produce(r)
	s.await(t, 3)
	h.fence(cfg)
	h.feedOthers("key", 10)
	h.await()
	s.await(t, 3)
	app.stop() // in the middle of a wait
	app = h.start(wordsUnless(t, byWord, s.call), cfg).settled()
	s.await(t, 3)
	s.back.Store(true)
	h.want["needs"]++
	h.await()
	app.stop()
	h.exact()
}

func TestRetryGivesUp(t *testing.T) {
	h := newHarness(t)
	h.create(1, "dead")
	s, log := newService(), new(text)
	cfg := h.config()
	cfg.Logger = slog.New(slog.NewTextHandler(log, nil))
	cfg.Errors = topology.Errors{
		Process:     topology.Retry{First: time.Millisecond, Attempts: 3, Then: topology.DeadLetter},
		DeadLetters: "dead",
	}
	app := h.start(wordsUnless(t, byWord, s.call), cfg).settled()
	r := kgo.KeyStringRecord("key", "needs")
	r.Topic = "lines"
	h.produce(r)
	h.feed(100)
	h.want["needs"]++ // what the record did before it failed stays, as with DeadLetter
	h.await()
	app.stop()
	h.exact()
	require.EqualValues(t, 3, s.n.Load())
	dead := h.read("dead")
	require.Len(t, dead, 1)
	headers := map[string]string{}
	for _, hd := range dead[0].Headers {
		headers[hd.Key] = string(hd.Value)
	}
	require.Equal(t, "3", headers["__streams.errors.attempts"])
	require.Equal(t, "the service is away", headers["__streams.errors.message"])
	require.Contains(t, log.String(), `attempts=3 then="dead letter"`)
}
