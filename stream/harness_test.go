package stream_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// driver runs a whole topology as one task with one partition, synchronously, with a commit after each record. It is
// the least that the operators' own tests need; package streamtest drives the production task.
type driver struct {
	t       *testing.T
	env     *topology.Env
	tx      *state.Tx
	graph   *topology.Graph
	outputs map[string][]raw
	queue   []queued
	manual  bool // no commit by itself
	builder *stream.Builder
}

type raw struct {
	key, value []byte
	ts         int64
}

type queued struct {
	topic string
	raw
}

type lane struct {
	d     *driver
	topic string
}

func (l lane) Partitions() int32 { return 1 }

func (l lane) Append(_ int32, ts int64, key, value []byte, _ []topology.Header) error {
	r := raw{clone(key), clone(value), ts}
	l.d.outputs[l.topic] = append(l.d.outputs[l.topic], r)
	if l.d.graph.Sources[l.topic] != nil {
		l.d.queue = append(l.d.queue, queued{l.topic, r})
	}
	return nil
}

func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

func drive(t *testing.T, b *stream.Builder) *driver {
	t.Helper()
	d := &driver{t: t, builder: b, outputs: map[string][]raw{}, tx: state.NewTx(state.Config{})}
	d.env = &topology.Env{
		ApplicationID: "app", Tx: d.tx, StreamTime: topology.Unknown, Marks: map[string]*int64{},
		Outlet: func(topic string) (topology.Outlet, error) { return lane{d, topic}, nil },
	}
	d.rebuild(b)
	return d
}

// rebuild makes the graph anew over the same stores, as after a restart.
func (d *driver) rebuild(b *stream.Builder) {
	d.t.Helper()
	topo, err := b.Build()
	require.NoError(d.t, err)
	d.tx.Unlisten()
	d.graph, err = topology.Build(d.env, topo.Subtopologies()...)
	require.NoError(d.t, err)
}

func (d *driver) pipe(topic string, r raw) {
	d.t.Helper()
	d.queue = append(d.queue, queued{topic, r})
	for len(d.queue) > 0 {
		q := d.queue[0]
		d.queue = d.queue[1:]
		d.env.StreamTime = max(d.env.StreamTime, q.ts)
		src := &topology.SourceRecord{Topic: q.topic, Record: batch.Record{Key: q.key, Value: q.value, Timestamp: q.ts}}
		require.NotEmpty(d.t, d.graph.Sources[q.topic], q.topic)
		d.env.Source = src
		for _, s := range d.graph.Sources[q.topic] {
			require.NoError(d.t, s.Receive(src))
		}
		d.env.Source = nil
		if !d.manual {
			d.commit()
		}
	}
}

func (d *driver) commit() {
	d.t.Helper()
	for _, in := range d.graph.Instances {
		if in.Settle != nil {
			_, err := in.Settle()
			require.NoError(d.t, err)
		}
	}
	require.NoError(d.t, d.tx.Flush())
	require.NoError(d.t, d.tx.Drain(func(state.Store, []byte, []byte, int64) error { return nil }))
	require.NoError(d.t, d.tx.Commit(func(string) int64 { return -1 }))
}

// dropped is what all nodes left out for a reason.
func (d *driver) dropped(why topology.Reason) (n int64) {
	for _, in := range d.graph.Instances {
		n += in.Dropped[why]
	}
	return n
}

// put feeds one record.
func put[K, V any](d *driver, t stream.Topic[K, V], key K, value V, ts int64) {
	d.t.Helper()
	keys, values := t.Serdes()
	k, err := keys.Append([]byte{}, key)
	require.NoError(d.t, err)
	v, err := values.Append([]byte{}, value)
	require.NoError(d.t, err)
	d.pipe(t.Name(), raw{k, v, ts})
}

// del feeds a record with a null value.
func del[K, V any](d *driver, t stream.Topic[K, V], key K, ts int64) {
	d.t.Helper()
	keys, _ := t.Serdes()
	k, err := keys.Append([]byte{}, key)
	require.NoError(d.t, err)
	d.pipe(t.Name(), raw{k, nil, ts})
}

// got is what a topic received since the last call, as "key=value@timestamp"; ∅ is null.
func got[K, V any](d *driver, t stream.Topic[K, V]) []string {
	d.t.Helper()
	keys, values := t.Serdes()
	out := []string{}
	for _, r := range d.outputs[t.Name()] {
		k, v := "∅", "∅"
		if r.key != nil {
			key, err := keys.Decode(r.key)
			require.NoError(d.t, err)
			k = fmt.Sprint(key)
		}
		if r.value != nil {
			value, err := values.Decode(r.value)
			require.NoError(d.t, err)
			v = fmt.Sprint(value)
		}
		out = append(out, fmt.Sprintf("%s=%s@%d", k, v, r.ts))
	}
	delete(d.outputs, t.Name())
	return out
}
