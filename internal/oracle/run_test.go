package oracle

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"thalweg/state"
	"thalweg/state/engine"
	"thalweg/stream"
	"thalweg/stream/streamtest"
	"thalweg/topology"
)

// mode is a way to run a scenario that must not change its results.
type mode struct {
	newEngine    func() (engine.Engine, error)
	restartEvery int // input items; 0: never
	partitions   int32
	rules        []stream.Rule        // of the optimizer
	commitEvery  int                  // records; 0: each
	keep         time.Duration        // windows that the scenario does not say it of; 0: as long as they need
	allows       func(*scenario) bool // nil: all
}

// run is one scenario being run.
type run struct {
	s    *scenario
	d    *streamtest.Driver
	at   int
	got  expect
	seen map[string]int // records of each topic that are collected

	partitions int32

	nodes   []*topology.Node
	dropped int64 // up to the last restart
}

// execute builds and runs a scenario. err says what went wrong where an error is part of the result, too.
func execute(t testing.TB, s *scenario, m mode) (got expect, err error) {
	r := &run{s: s, seen: map[string]int{}, partitions: m.partitions}
	r.got.Outputs, r.got.Peeks = map[string][]record{}, map[string][]record{}
	b := newBuilder(s, stream.NewBuilder())
	b.peek, b.refused = r.peek, func() { r.dropped++ }
	b.windows = m.keep
	if len(m.rules) > 0 {
		b.b.OptimizeWith(m.rules...)
	}
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	topo, err := b.build()
	if err != nil {
		r.got.Error = &failure{Phase: "build"}
		return r.got, err
	}
	r.nodes = topo.Nodes()
	c := streamtest.Config{
		ApplicationID: "app", NewEngine: m.newEngine, CheckpointCommits: 2,
		Partitions: m.partitions, CommitEvery: m.commitEvery,
	}
	c.Errors = policy(s)
	r.d = streamtest.New(t, topo, c)
	err = r.feed(m)
	if err != nil {
		r.got.Error = &failure{Phase: "run", At: r.at}
		return r.got, err
	}
	if m.commitEvery > 0 {
		if err := r.d.TryCommit(); err != nil {
			return r.got, err
		}
		r.collect()
	}
	r.got.Stores = map[string][]row{}
	for name, read := range b.stores {
		r.got.Stores[name] = read(r)
	}
	r.count(true)
	r.got.Dropped = &r.dropped
	return r.got, nil
}

// policy is a scenario's error policy. In Kafka Streams a dead letter topic gets the records of both.
func policy(s *scenario) topology.Errors {
	d := topology.Fail
	switch letters := s.Config.DeadLetters != ""; {
	case s.Config.OnError == "continue" && letters:
		d = topology.DeadLetter
	case s.Config.OnError == "continue":
		d = topology.Skip
	case letters:
		d = topology.DeadLetterAndFail
	}
	return topology.Errors{Decode: d, Process: d, Encode: d, DeadLetters: s.Config.DeadLetters}
}

func (r *run) peek(node string, k, v str) {
	r.got.Peeks[node] = append(r.got.Peeks[node], record{Key: k, Value: v, At: r.at})
}

func (r *run) feed(m mode) error {
	for i, in := range r.s.Input {
		r.at = i
		if m.restartEvery > 0 && i > 0 && i%m.restartEvery == 0 {
			r.count(false)
			r.d.Restart(streamtest.LoseState)
		}
		var err error
		if in.Topic == "" {
			err = r.d.TryAdvanceWallClock(time.Duration(in.AdvanceWallMs) * time.Millisecond)
		} else {
			rec := topology.Record[str, str]{Key: in.Key, Value: in.Value, Timestamp: in.TS}
			for _, h := range in.Headers {
				rec.Headers = append(rec.Headers, topology.Header{Key: h[0], Value: []byte(h[1])})
			}
			err = r.d.Input(topic(in.Topic)).TrySendRecord(rec)
			r.fed(in.Topic)
		}
		r.collect()
		if err != nil {
			return err
		}
	}
	return nil
}

// count adds what the application has dropped since it was started. Kafka does not count what a repartition leaves out.
// Global stores that are lost are filled from the start of their topics: only the last time counts.
func (r *run) count(last bool) {
	r.dropped += r.d.DroppedTotal()
	for _, n := range r.nodes {
		node := r.d.Node(n.Name)
		switch {
		case n.Kind == topology.KindSink && n.Sink.Repartition:
			r.dropped -= node.Dropped[topology.NullKey]
		case n.Global && !last:
			for _, dropped := range node.Dropped {
				r.dropped -= dropped
			}
		}
	}
}

func isRepartition(n *topology.Node) bool { return n.Kind == topology.KindSink && n.Sink.Repartition }

// fed takes the test's own record out of what counts as output.
func (r *run) fed(name string) {
	w := r.d.Written(name)
	if at := r.seen[name]; at < len(w) {
		r.seen[name] = at + 1 // the first that is new is the test's: what the topology wrote came after it
	}
}

// add notes a record under the name that Kafka Streams' topic would have.
func (r *run) add(topic string, w streamtest.Written) {
	name := scenarioName(topic)
	r.got.Outputs[name] = append(r.got.Outputs[name], r.record(w))
}

func (r *run) collect() {
	for _, name := range r.d.Topics() {
		if strings.HasPrefix(name, "app-") || r.hides(name) {
			continue
		}
		w := r.d.Written(name)
		for _, o := range w[r.seen[name]:] {
			r.add(name, o)
		}
		r.seen[name] = len(w)
		for _, o := range r.d.Aborted(name) {
			r.add(name, o)
		}
	}
	for _, name := range r.d.AbortedTopics() {
		if !strings.HasPrefix(name, "app-") && len(r.d.Written(name)) == 0 {
			for _, o := range r.d.Aborted(name) {
				r.add(name, o)
			}
		}
	}
}

// hides tells that a topic is the one for dead letters of failures that stop the application: Kafka's test driver does
// not show them.
func (r *run) hides(topic string) bool {
	return topic == r.s.Config.DeadLetters && r.s.Config.OnError != "continue"
}

func (r *run) record(w streamtest.Written) record {
	o := record{Key: view(w.Key), Value: view(w.Value), TS: w.Timestamp, At: r.at}
	if r.s.Config.Headers {
		o.Headers = [][]*string{}
		for _, h := range w.Headers {
			switch h.Key {
			case "__streams.errors.stacktrace":
			case "__streams.errors.exception": // the type's name is Java's
				o.Headers = append(o.Headers, []*string{ptr(h.Key), nil})
			default:
				o.Headers = append(o.Headers, []*string{ptr(h.Key), view(h.Value)})
			}
		}
	}
	return o
}

func view(b []byte) *string {
	if b == nil {
		return nil
	}
	return ptr(string(b))
}

// rowsOf reads a key-value store, of all partitions.
func rowsOf[V any](r *run, st state.KV[str, V], text func(V) str) []row {
	rows := []row{}
	for _, e := range r.d.Entries(st) {
		ts := e.Timestamp
		rows = append(rows, row{Key: *e.Key, Value: text(e.Value), TS: &ts})
	}
	slices.SortFunc(rows, func(a, b row) int { return cmp.Compare(a.Key, b.Key) })
	return rows
}
