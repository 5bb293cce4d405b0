package runtime_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/topology"
)

// patience bounds what a test waits for; poll is the time between two looks.
const (
	patience = 2 * time.Minute
	poll     = 20 * time.Millisecond
)

var (
	lineTopic = topology.NewTopic[string, string]("lines")
	byWord    = state.NewKV[string, int64]("by-word")
)

// splitter makes a record of each word of a line. The line "panic!" panics, and refuse, where set, may fail others
// when their words are on their way.
type splitter struct {
	c      *topology.Context[string, string]
	refuse func(line string) error
}

func (s *splitter) Init(c *topology.Context[string, string]) error { s.c = c; return nil }

func (s *splitter) Process(r topology.Record[string, string]) error {
	if r.Value == "panic!" {
		panic("a bad line")
	}
	for word := range strings.FieldsSeq(r.Value) {
		out := topology.Record[string, string]{Key: word, Value: word, Timestamp: r.Timestamp}
		if err := s.c.Forward(out); err != nil {
			return err
		}
	}
	if s.refuse != nil {
		return s.refuse(r.Value)
	}
	return nil
}

// counter counts records by key and sends every step of every count.
type counter struct {
	c     *topology.Context[string, int64]
	store *state.KVStore[string, int64]
	name  state.KV[string, int64]
}

func (p *counter) Init(c *topology.Context[string, int64]) (err error) {
	p.c = c
	p.store, err = p.name.Open(c)
	return err
}

func (p *counter) Process(r topology.Record[string, string]) error {
	n, _, _, err := p.store.Get(r.Key)
	if err != nil {
		return err
	}
	n++
	if err := p.store.Put(r.Key, n, r.Timestamp); err != nil {
		return err
	}
	return p.c.Forward(topology.Record[string, int64]{Key: r.Key, Value: n, Timestamp: r.Timestamp})
}

// words builds lines → words (repartition) → counts.
func words(t testing.TB, store state.KV[string, int64]) *topology.Topology {
	t.Helper()
	return wordsUnless(t, store, nil)
}

// wordsUnless is words with lines that are refused.
func wordsUnless(t testing.TB, store state.KV[string, int64], refuse func(line string) error) *topology.Topology {
	t.Helper()
	b := topology.NewBuilder()
	b.Source("lines", lineTopic).
		Process("split", func() *splitter { return &splitter{refuse: refuse} }).
		Repartition("words").
		Process("count", func() *counter { return &counter{name: store} }, store).
		Sink("counts", topology.NewTopic[string, int64]("counts"))
	topo, err := b.Build()
	require.NoError(t, err)
	return topo
}

// harness is a broker in memory with the topics of words.
type harness struct {
	t      *testing.T
	ctx    context.Context
	broker *broker.Broker
	client *kgo.Client
	admin  *kadm.Client
	random *rand.Rand
	want   map[string]int64 // words fed so far
	total  int64
}

func newHarness(t *testing.T, opts ...brokertest.Option) *harness {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	b := brokertest.New(t, opts...)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	h := &harness{
		t: t, ctx: ctx, broker: b, client: brokertest.Client(t, b), random: rand.New(rand.NewPCG(seed, 1)),
		want: map[string]int64{},
	}
	h.admin = kadm.NewClient(h.client)
	h.create(4, "lines")
	h.create(3, "counts")
	return h
}

// reopen closes the broker, whose directory is on fs, and opens another there.
func (h *harness) reopen(fs vfs.FS, meanwhile func()) {
	h.t.Helper()
	h.client.Close()
	require.NoError(h.t, h.broker.Close())
	meanwhile()
	h.broker = brokertest.New(h.t, brokertest.On(fs))
	h.reconnect()
}

// reconnect makes the clients again.
func (h *harness) reconnect() {
	h.client.Close()
	h.client = brokertest.Client(h.t, h.broker)
	h.admin = kadm.NewClient(h.client)
}

func (h *harness) create(partitions int32, topic string) {
	h.t.Helper()
	_, err := h.admin.CreateTopic(h.ctx, partitions, 1, nil, topic)
	require.NoError(h.t, err)
}

func (h *harness) produce(records ...*kgo.Record) {
	h.t.Helper()
	require.NoError(h.t, h.client.ProduceSync(h.ctx, records...).FirstErr())
}

// feed adds lines of eight words out of a few dozen.
func (h *harness) feed(lines int) {
	h.t.Helper()
	records := make([]*kgo.Record, lines)
	for i := range records {
		var line []string
		for range 8 {
			word := fmt.Sprintf("w%d", h.random.IntN(1+h.random.IntN(60)))
			h.want[word]++
			h.total++
			line = append(line, word)
		}
		records[i] = kgo.KeySliceRecord([]byte(strconv.Itoa(i)), []byte(strings.Join(line, " ")))
		records[i].Topic = "lines"
	}
	h.produce(records...)
}

// config is a small application's.
func (h *harness) config() runtime.Config {
	return runtime.Config{
		ApplicationID: "wordcount",
		Broker:        h.broker,
		State:         runtime.StateConfig{Dir: "state", FS: vfs.NewMem()},
		Workers:       1,
		Logger:        logger(h.t),
	}
}

// over reaches the broker over connections with something around them.
func (h *harness) over(wrap func(net.Conn) net.Conn) runtime.ClientOptions {
	return runtime.Options(kgo.Dialer(brokertest.Wrapped(h.broker.Dial, wrap)))
}

// logTail is how much of its log a test keeps.
const logTail = 256 << 10

// lastLog keeps the end of a log for the case that the test fails.
type lastLog struct {
	mu  sync.Mutex
	buf []byte
}

func (l *lastLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.buf = append(l.buf, b...); len(l.buf) > 2*logTail {
		l.buf = append(l.buf[:0], l.buf[len(l.buf)-logTail:]...)
	}
	return len(b), nil
}

// logger shows the runtime's log when the test fails.
func logger(t *testing.T) *slog.Logger {
	l := new(lastLog)
	t.Cleanup(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if t.Failed() {
			t.Logf("the end of the application's log:\n%s", l.buf[max(0, len(l.buf)-logTail):])
		}
	})
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// running is an application under test.
type running struct {
	*runtime.App
	h   *harness
	end chan error
}

// start runs an application until the test ends, at the latest.
func (h *harness) start(topo *topology.Topology, cfg runtime.Config) *running {
	h.t.Helper()
	app, err := runtime.New(topo, cfg)
	require.NoError(h.t, err)
	r := &running{App: app, h: h, end: make(chan error, 1)}
	ctx, cancel := context.WithCancel(h.ctx)
	go func() { r.end <- app.Run(ctx) }()
	h.t.Cleanup(func() {
		cancel()
		<-app.Done()
	})
	return r
}

// settled waits until the application works.
func (r *running) settled() *running {
	r.h.t.Helper()
	ctx, cancel := context.WithTimeout(r.h.ctx, patience)
	defer cancel()
	require.NoError(r.h.t, r.WaitRunning(ctx))
	return r
}

// stop closes the application gracefully.
func (r *running) stop() {
	r.h.t.Helper()
	ctx, cancel := context.WithTimeout(r.h.ctx, patience)
	defer cancel()
	require.NoError(r.h.t, r.Close(ctx))
	require.NoError(r.h.t, <-r.end)
}

// fails waits for the error that ends the application.
func (r *running) fails() error {
	r.h.t.Helper()
	select {
	case err := <-r.end:
		require.Error(r.h.t, err)
		return err
	case <-time.After(patience):
		require.Fail(r.h.t, "the application goes on")
		return nil
	}
}

// read returns all committed records of a topic.
func (h *harness) read(topic string) []*kgo.Record {
	h.t.Helper()
	ends, err := h.admin.ListCommittedOffsets(h.ctx, topic)
	require.NoError(h.t, err)
	client := brokertest.Client(h.t, h.broker, kgo.ConsumeTopics(topic), kgo.KeepControlRecords(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		require.NoError(h.t, o.Err)
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	var all []*kgo.Record
	for len(left) > 0 {
		fetches := client.PollFetches(h.ctx)
		require.NoError(h.t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				all = append(all, r)
			}
		})
	}
	return all
}

// await waits until the counts topic has a committed record for each word that was fed.
func (h *harness) await() {
	h.t.Helper()
	client := brokertest.Client(h.t, h.broker, kgo.ConsumeTopics("counts"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer client.Close()
	ctx, cancel := context.WithTimeout(h.ctx, patience)
	defer cancel()
	latest := map[string]int64{}
	for !h.complete(latest) {
		fetches := client.PollFetches(ctx)
		require.NoError(h.t, fetches.Err(), "have %v, want %v", latest, h.want)
		fetches.EachRecord(func(r *kgo.Record) {
			latest[string(r.Key)] = max(latest[string(r.Key)], number(h.t, r.Value))
		})
	}
}

func (h *harness) complete(latest map[string]int64) bool {
	for word, n := range h.want {
		if latest[word] < n {
			return false
		}
	}
	return true
}

func number(t testing.TB, b []byte) int64 {
	n, err := serde.For[int64]().Decode(b)
	require.NoError(t, err)
	return n
}

// exact checks that each word's counts went 1, 2, 3 … to the right number, without gap or repeat.
func (h *harness) exact() {
	h.t.Helper()
	last := map[string]int64{}
	for _, r := range h.read("counts") {
		word, n := string(r.Key), number(h.t, r.Value)
		require.Equal(h.t, last[word]+1, n, "word %s in partition %d at offset %d", word, r.Partition, r.Offset)
		last[word] = n
	}
	require.Equal(h.t, h.want, last)
}

// atLeast checks that no word was lost.
func (h *harness) atLeast() {
	h.t.Helper()
	most := map[string]int64{}
	for _, r := range h.read("counts") {
		most[string(r.Key)] = max(most[string(r.Key)], number(h.t, r.Value))
	}
	for word, n := range h.want {
		require.GreaterOrEqual(h.t, most[word], n, word)
	}
}
