package verify

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker/brokertest"
	"thalweg/runtime"
	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
)

// valve lets connections answer, or not.
type valve struct {
	mu   sync.Mutex
	shut chan struct{} // closed when answers come again; nil while they do
}

type valved struct {
	net.Conn
	valve *valve
}

// Read gives nothing while the valve is shut, what has arrived among it.
func (c valved) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.valve.mu.Lock()
	shut := c.valve.shut
	c.valve.mu.Unlock()
	if shut != nil {
		<-shut
	}
	return n, err
}

func (v *valve) close() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.shut = make(chan struct{})
}

func (v *valve) open() {
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.shut)
	v.shut = nil
}

// While the broker does not answer nobody knows what it has: windows wait, and what it had is in time.
func TestWindowsDoNotCloseBecauseTheBrokerIsAway(t *testing.T) {
	t.Run("cluster", func(t *testing.T) { idleWindows(t, true) })
	t.Run("in process", func(t *testing.T) { idleWindows(t, false) })
}

// idleWindows closes windows of an input that is idle after a time, on a broker that is away in between if it can be.
func idleWindows(t *testing.T, remote bool) {
	t.Parallel()
	const quiet = 2 * time.Second
	events, closed := stream.NewTopic[string, string]("events"), stream.NewTopic[string, int64]("closed")
	b := stream.NewBuilder()
	b.Stream(events).GroupByKey().Windowed(stream.Tumbling(time.Second, 0)).Emit(stream.OnClose).CloseWhenIdle(quiet).
		Count(state.NewWindowed[string, int64]("counts")).
		ToStream(func(k string, w stream.Span) string { return fmt.Sprint(k, w) }).To(closed)
	topo, err := b.Build()
	require.NoError(t, err)

	bundled := brokertest.New(t)
	client := brokertest.Client(t, bundled, kgo.ConsumeTopics("closed"), kgo.AllowAutoTopicCreation(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	v := &valve{}
	dial := brokertest.Wrapped(bundled.Dial, func(c net.Conn) net.Conn { return valved{c, v} })
	cfg := runtime.Config{
		ApplicationID: "idle",
		State:         runtime.StateConfig{Dir: "state", FS: vfs.NewMem()},
		Workers:       1, Guarantee: runtime.AtLeastOnce,
		Topics: runtime.Topics{Partitions: 1, CreateOnCluster: true},
	}
	if remote {
		cfg.Seeds, cfg.ClientOptions = []string{bundled.Addr()}, runtime.Options(kgo.Dialer(dial))
	} else {
		cfg.Broker = bundled
	}
	app, err := runtime.New(topo, cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	ran := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	go func() { ran <- app.Run(running) }()
	require.NoError(t, app.WaitCaughtUp(ctx))

	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	put := func(n int) {
		for range n {
			at = at.Add(100 * time.Millisecond)
			r := kgo.Record{Topic: "events", Key: []byte("k"), Value: []byte("v"), Timestamp: at}
			require.NoError(t, client.ProduceSync(ctx, &r).FirstErr())
		}
	}
	put(20)
	require.NoError(t, app.WaitCaughtUp(ctx))
	if remote {
		v.close()
	}
	put(20)
	if remote {
		<-time.After(2 * quiet)
		v.open()
	}
	put(20)
	counted := int64(0)
	for counted < 60 { // the last ones after quiet
		fetches := client.PollFetches(ctx)
		require.NoError(t, fetches.Err(), "%d records in closed windows, dropped: %s", counted, drops(app))
		fetches.EachRecord(func(r *kgo.Record) {
			n, err := serde.For[int64]().Decode(r.Value)
			require.NoError(t, err)
			counted += n
		})
		require.Empty(t, drops(app))
	}
	stop()
	require.NoError(t, <-ran)
}

func drops(app *runtime.App) (lines string) {
	for _, n := range app.Stats().Nodes {
		if len(n.Dropped) > 0 {
			lines += fmt.Sprintln(n.Node, n.Dropped)
		}
	}
	return lines
}
