package kclient

import (
	"bytes"
	"runtime/pprof"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// goroutinesOf returns the stacks of this package's goroutines and franz-go's, the test's own aside.
func goroutinesOf(t *testing.T) string {
	t.Helper()
	var all bytes.Buffer
	require.NoError(t, pprof.Lookup("goroutine").WriteTo(&all, 2))
	var found []byte
	for _, g := range bytes.Split(all.Bytes(), []byte("\n\n")) {
		if bytes.Contains(g, []byte("testing.tRunner")) || bytes.Contains(g, []byte("goroutinesOf")) {
			continue
		}
		if bytes.Contains(g, []byte("franz-go")) || bytes.Contains(g, []byte("internal/kclient.")) {
			found = append(append(found, g...), "\n\n"...)
		}
	}
	return string(found)
}

func TestCloseEndsEveryGoroutine(t *testing.T) {
	onEveryBroker(t, func(t *testing.T, b *bench) {
		admin := b.producer("")
		topic := b.topic(admin, "in", 2)
		b.produce(admin, item(topic, 0, "a"), item(topic, 1, "b"))
		l := b.member(b.name("group"), b.name("txn"), topic)
		require.NoError(t, l.InitProducer(b.ctx))
		b.event(l, Assigned)
		restorer, err := l.OpenFetcher(FetcherConfig{})
		require.NoError(t, err)
		for _, f := range []*Fetcher{l.Fetcher(), restorer} {
			f.Set(TopicPartition{topic, 0}, 0)
			f.Set(TopicPartition{topic, 1}, 1)
		}
		b.reader(restorer).take()
		require.NoError(t, l.Produce(b.ctx, []Item{item(topic, 0, "c")}))
		restorer.Close()
		l.Close()
		admin.Close()
		// franz-go lets some of its goroutines notice the end by themselves.
		var left string
		ended := func() bool { left = goroutinesOf(t); return left == "" }
		require.Eventually(t, ended, patience, 5*time.Millisecond, "some still run")
		require.Empty(t, left)
	})
}
