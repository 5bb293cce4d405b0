package runtime_test

import (
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/internal/memory"
	"thalweg/runtime"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// beyondLimit is how much state there is, in hundredths of the limit. make memory runs it with 1000.
var beyondLimit = flag.Int("beyond-limit", 150, "state in hundredths of the memory limit")

const (
	limitBytes  = 32 << 20
	limitValue  = 16 << 10
	limitStores = 5 // each of which keeps a value for each record
)

// everyKind keeps each record in a table, a window, a session, a join buffer, and a window that waits to be closed.
func everyKind(t *testing.T) *topology.Topology {
	b := stream.NewBuilder()
	in := b.Stream(stream.NewTopic[string, []byte]("records"))
	last := func(_, v []byte) []byte { return v }
	hours := stream.Tumbling(time.Hour, time.Hour)
	out := stream.NewTopic[string, int64]("results")
	length := func(v []byte) int64 { return int64(len(v)) }
	in.GroupByKey().Reduce(state.NewKV[string, []byte]("table"), last).ToStream().MapValues(length).To(out)
	in.GroupByKey().Windowed(hours).Reduce(state.NewWindowed[string, []byte]("windows"), last).
		ToStream(func(k string, _ stream.Span) string { return k }).MapValues(length).To(out)
	in.GroupByKey().Sessions(stream.SessionGap(time.Minute, time.Hour)).
		Reduce(state.NewSession[string, []byte]("sessions"), last).
		ToStream(func(k string, _ stream.Span) string { return k }).MapValues(length).To(out)
	in.GroupByKey().Windowed(hours).Emit(stream.OnClose).Reduce(state.NewWindowed[string, []byte]("closing"), last).
		ToStream(func(k string, _ stream.Span) string { return k }).MapValues(length).To(out)
	in.Join(b.Stream(stream.NewTopic[string, []byte]("others")), stream.Around(time.Hour, time.Hour), "joined",
		func(l, r []byte) int64 { return int64(len(l) + len(r)) }).To(out)
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// watchedLimit looks at what is held of the limit until stop, which returns the most that was charged at a time, and
// the most of each kind.
func watchedLimit(t *testing.T) (stop func() (int64, map[string]int64)) {
	m, err := memory.Join(memory.Request{Name: "test", Kinds: []memory.Kind{memory.Clients}, Follows: true})
	require.NoError(t, err)
	quit, done := make(chan struct{}), make(chan struct{})
	var peak int64
	kinds := map[string]int64{}
	go func() {
		defer close(done)
		for {
			charged := int64(0)
			for _, h := range m.Usage().Holders {
				kinds[h.Kind.String()] = max(kinds[h.Kind.String()], h.Bytes)
				if h.Kind.OffHeap() {
					charged += h.Bytes
				} else {
					charged += h.Bytes * 8 / 5
				}
			}
			peak = max(peak, charged)
			select {
			case <-quit:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() (int64, map[string]int64) {
		close(quit)
		<-done
		m.Leave()
		return peak, kinds
	}
}

// State beyond the limit is processed, restored and closed within the limit.
func TestStateBeyondTheLimit(t *testing.T) {
	dir := t.TempDir()
	h := newHarness(t, brokertest.Configure(func(c *broker.Config) {
		c.Dir, c.Sync, c.MemoryBytesMax = filepath.Join(dir, "broker"), broker.SyncNever, limitBytes
	}))
	stop := watchedLimit(t)
	for _, topic := range []string{"records", "others", "results"} {
		h.create(2, topic)
	}
	records := make([]*kgo.Record, 0, 64)
	all := *beyondLimit * limitBytes / 100 / limitStores / limitValue
	for i := range all {
		value := make([]byte, limitValue)
		binary.BigEndian.PutUint64(value, uint64(i))
		records = append(records, &kgo.Record{
			Topic: "records", Key: fmt.Appendf(nil, "key-%06d", i*7919%all), Value: value,
			Timestamp: time.UnixMilli(1_700_000_000_000 + int64(i)),
		})
		if len(records) == cap(records) {
			h.produce(records...)
			records = records[:0]
		}
	}
	h.produce(records...)
	cfg := h.config()
	cfg.State.FS, cfg.State.Dir, cfg.Workers = nil, filepath.Join(dir, "state"), 2
	for _, what := range []string{"processing", "restoring"} {
		app := h.start(everyKind(t), cfg).caughtUp()
		require.EqualValues(t, limitBytes, app.Stats().Memory.BytesMax)
		app.stop()
		require.NoError(t, os.RemoveAll(cfg.State.Dir), what)
	}
	peak, kinds := stop()
	t.Logf("at most %d bytes of %d were charged: %v", peak, limitBytes, kinds)
	require.LessOrEqual(t, peak, int64(limitBytes))
	// Tails hold nothing while readers are behind, which they may be all the time.
	for _, kind := range []string{"rows", "engine", "fetched", "restored"} {
		require.Positive(t, kinds[kind], kind)
	}
}

// With more workers than the limit has memory for an application says what would fit.
func TestWorkersBeyondTheLimit(t *testing.T) {
	h := newHarness(t, brokertest.Configure(func(c *broker.Config) { c.MemoryBytesMax = limitBytes }))
	cfg := h.config()
	cfg.Workers = 64
	_, err := runtime.New(words(t, byWord), cfg)
	require.ErrorContains(t, err, "it takes a MemoryBytesMax of ")
	require.ErrorContains(t, err, "or Workers of ")
}

// A client has a part of the limit, whatever it is, and does not decide about it.
func TestAClientHasAPartOfTheLimit(t *testing.T) {
	c, err := runtime.NewClient(runtime.Config{Seeds: []string{"nowhere:9092"}})
	require.NoError(t, err)
	h := newHarness(t, brokertest.Configure(func(c *broker.Config) { c.MemoryBytesMax = limitBytes }))
	app := h.start(words(t, byWord), h.config()).settled()
	parts := func() (holds []string) {
		for _, p := range app.Stats().Memory.Holders {
			holds = append(holds, p.Holds)
		}
		return holds
	}
	require.Contains(t, parts(), "clients")
	c.Close()
	require.NotContains(t, parts(), "clients")
	app.stop()
}
