package statetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/state/engine"
)

// Restarting is an engine that can be restarted and crashed: Crash returns the engine that a new process finds after
// the power was lost.
type Restarting interface {
	Engine() engine.Engine
	Restart(t *testing.T)
	Crash(t *testing.T)
}

// Metamorphic compares two engines, the second one a model that is trusted, under random operations, restarts and
// crashes. After a crash the engine must hold a prefix of the batches; the model is taken back to the same one.
func Metamorphic(t *testing.T, seed uint64, steps int, subject Restarting, model func() engine.Engine) {
	t.Logf("seed %d", seed)
	m := &meta{t: t, r: rand.New(rand.NewPCG(seed, 5)), subject: subject, model: model}
	m.rebuild(0)
	for range steps {
		switch n := m.r.IntN(100); {
		case n < 55:
			m.batch()
		case n < 60:
			m.ingest()
		case n < 70:
			m.get()
		case n < 75:
			m.sorted()
		case n < 90:
			m.scan()
		case n < 94:
			require.NoError(t, subject.Engine().Flush())
			m.durable = len(m.history)
		case n < 97:
			subject.Restart(t)
			m.durable = len(m.history)
		default:
			subject.Crash(t)
			m.afterCrash()
		}
	}
	m.compare(subject.Engine())
	require.NoError(t, subject.Engine().Close())
}

type op struct {
	kind       int // set, delete, delete range
	key, value []byte
}

type meta struct {
	t       *testing.T
	r       *rand.Rand
	subject Restarting
	model   func() engine.Engine
	trusted engine.Engine
	history [][]op
	durable int // batches that a crash must not take
}

// marker is the key that every batch sets to its number: what tells the prefix after a crash.
const marker = "\x00marker"

func (m *meta) key() []byte { return fmt.Appendf(nil, "%c%d", 'a'+m.r.IntN(3), m.r.IntN(200)) }

func (m *meta) batch() {
	ops := []op{{key: []byte(marker), value: fmt.Append(nil, len(m.history)+1)}}
	for range m.r.IntN(40) {
		o := op{key: m.key(), value: make([]byte, m.r.IntN(60))}
		switch n := m.r.IntN(20); {
		case n < 4:
			o.kind = 1
		case n < 5:
			o.kind, o.value = 2, append(append([]byte(nil), o.key...), byte('0'+m.r.IntN(10)))
		default:
			for i := range o.value {
				o.value[i] = byte(m.r.Uint32())
			}
		}
		ops = append(ops, o)
	}
	m.history = append(m.history, ops)
	m.apply(m.subject.Engine(), ops)
	m.apply(m.trusted, ops)
}

// ingest applies a batch that shares a key with all others, the marker, so that it is part of the prefix.
func (m *meta) ingest() {
	ops := []op{{key: []byte(marker), value: fmt.Append(nil, len(m.history)+1)}}
	for range m.r.IntN(40) {
		ops = append(ops, op{key: m.key(), value: fmt.Append(nil, m.r.IntN(1000)), kind: m.r.IntN(4) / 3})
	}
	slices.SortFunc(ops, func(a, b op) int { return bytes.Compare(a.key, b.key) })
	ops = slices.CompactFunc(ops, func(a, b op) bool { return bytes.Equal(a.key, b.key) })
	m.history = append(m.history, ops)
	require.NoError(m.t, m.subject.Engine().Ingest(func(rows engine.Rows) error {
		for _, o := range ops {
			if o.kind == 1 {
				require.NoError(m.t, rows.Delete(o.key))
			} else {
				require.NoError(m.t, rows.Set(o.key, o.value))
			}
		}
		return nil
	}))
	m.apply(m.trusted, ops)
}

func (m *meta) apply(e engine.Engine, ops []op) {
	b := e.NewBatch(0)
	for _, o := range ops {
		var err error
		switch o.kind {
		case 0:
			err = b.Set(o.key, o.value)
		case 1:
			err = b.Delete(o.key)
		case 2:
			err = b.DeleteRange(o.key, o.value)
		}
		require.NoError(m.t, err)
	}
	require.NoError(m.t, b.Commit())
}

func (m *meta) get() {
	key := m.key()
	want, has, err := m.trusted.Get(nil, key)
	require.NoError(m.t, err)
	got, ok, err := m.subject.Engine().Get(nil, key)
	require.NoError(m.t, err)
	require.Equal(m.t, has, ok, "key %q", key)
	require.Equal(m.t, string(want), string(got))
}

func (m *meta) sorted() {
	var keys [][]byte
	for range m.r.IntN(30) {
		keys = append(keys, m.key())
	}
	slices.SortFunc(keys, bytes.Compare)
	keys = slices.CompactFunc(keys, bytes.Equal)
	find := func(e engine.Engine) (found []string) {
		require.NoError(m.t, e.GetSorted(keys, func(i int, value []byte) error {
			found = append(found, fmt.Sprintf("%q=%x", keys[i], value))
			return nil
		}))
		return found
	}
	var want []string
	for _, key := range keys {
		value, has, err := m.trusted.Get(nil, key)
		require.NoError(m.t, err)
		if has {
			want = append(want, fmt.Sprintf("%q=%x", key, value))
		}
	}
	require.Equal(m.t, want, find(m.trusted), "keys %q", keys)
	require.Equal(m.t, want, find(m.subject.Engine()), "keys %q", keys)
}

func (m *meta) scan() {
	lower, upper := m.key(), m.key()
	if m.r.IntN(4) == 0 {
		lower = nil
	}
	if lower != nil && string(lower) > string(upper) {
		lower, upper = upper, lower
	}
	require.Equal(m.t, m.rows(m.trusted, lower, upper), m.rows(m.subject.Engine(), lower, upper))
}

func (m *meta) rows(e engine.Engine, lower, upper []byte) []string {
	it, err := e.Iterate(lower, upper)
	require.NoError(m.t, err)
	rows := []string{}
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.Value()
		require.NoError(m.t, err)
		rows = append(rows, fmt.Sprintf("%q=%x", it.Key(), value))
	}
	require.NoError(m.t, it.Error())
	require.NoError(m.t, it.Close())
	return rows
}

// afterCrash finds which prefix the engine holds, and takes the model back to it.
func (m *meta) afterCrash() {
	value, ok, err := m.subject.Engine().Get(nil, []byte(marker))
	require.NoError(m.t, err)
	held := 0
	if ok {
		_, err = fmt.Sscan(string(value), &held)
		require.NoError(m.t, err)
	}
	require.GreaterOrEqual(m.t, held, m.durable, "a crash took batches that were flushed")
	m.rebuild(held)
	m.compare(m.subject.Engine())
}

func (m *meta) rebuild(batches int) {
	m.history = m.history[:batches]
	m.trusted = m.model()
	for _, ops := range m.history {
		m.apply(m.trusted, ops)
	}
	m.durable = batches
}

func (m *meta) compare(e engine.Engine) {
	require.Equal(m.t, m.rows(m.trusted, nil, nil), m.rows(e, nil, nil))
}
