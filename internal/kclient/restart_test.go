package kclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
)

// house is a bundled broker that is stopped and started again over the same files, and the way to whichever runs.
type house struct {
	t   *testing.T
	fs  vfs.FS
	mu  sync.Mutex
	now *broker.Broker // nil while it is down
}

func (h *house) start() {
	h.t.Helper()
	b, err := broker.Open(broker.Config{Dir: "data", FS: h.fs})
	require.NoError(h.t, err)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = b
}

func (h *house) stop() {
	h.t.Helper()
	h.mu.Lock()
	b := h.now
	h.now = nil
	h.mu.Unlock()
	if b != nil {
		require.NoError(h.t, b.Close())
	}
}

func (h *house) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	h.mu.Lock()
	b := h.now
	h.mu.Unlock()
	if b == nil {
		return nil, errors.New("the broker is down")
	}
	return b.Dial(ctx, network, addr)
}

func TestTheBrokerRestartsInTheMiddle(t *testing.T) {
	h := &house{t: t, fs: vfs.NewMem()}
	h.start()
	t.Cleanup(h.stop)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	b := &bench{t: t, ctx: ctx, tag: "r", base: Config{
		Seeds: []string{h.now.Addr()}, Client: []kgo.Opt{kgo.Dialer(h.Dial)},
	}}
	admin := b.open(nil)
	in, out := b.topic(admin, "in", 1), b.topic(admin, "out", 2)
	l := b.member("group", "txn", in)
	b.event(l, Assigned)
	go drainEvents(l)
	require.NoError(t, l.InitProducer(ctx))
	c := &copier{b: b, l: l, out: out, from: TopicPartition{in, 0}}
	r := b.reader(admin.Fetcher())
	for p := range int32(2) {
		admin.Fetcher().Set(TopicPartition{out, p}, 0)
	}
	for round := range int64(3) {
		for c.next < 20*(round+1) {
			c.step(4)
		}
		// Down with a transaction in the air, and up again while its produce is retried.
		require.NoError(t, l.Produce(ctx, []Item{item(out, 0, "void"), item(out, 1, "void")}))
		h.stop()
		h.start()
		require.NoError(t, l.EndTxn(ctx, false))
		l.TakeProduced(nil)
	}
	for p := range 2 {
		var want []string
		for i := p; i < 60; i += 2 {
			want = append(want, fmt.Sprint(i))
		}
		tp := TopicPartition{out, int32(p)}
		require.Equal(t, want, b.all(admin, tp))
		for len(r.values[tp]) < len(want) {
			r.take()
		}
		require.Equal(t, want, r.values[tp], "read across the restarts")
	}
}
