package oracle

import (
	"maps"
	"slices"

	"thalweg/state"
)

func (b *builder) isVersioned() bool { return b.n.Store != nil && b.n.Store.VersionedMs > 0 }

// tableSource reads a topic as a table. Kafka Streams keeps the rows of a table without a store only where somebody
// reads them.
func (b *builder) tableSource() {
	t := topic(b.n.Topic)
	switch {
	case b.isVersioned():
		b.put(b.b.VersionedTable(t, b.versioned()))
	case b.n.Store == nil:
		b.put(b.b.LazyTable(t, b.kv()).Emit(b.emit))
	default:
		b.put(b.b.Table(t, b.kv()).Emit(b.emit))
	}
}

func (b *builder) versioned() state.Versioned[str, str] {
	st := state.NewVersioned[str, str](b.n.Store.Name, ms(b.n.Store.VersionedMs))
	b.named[st.Name()] = st
	b.stores[st.Name()] = func(r *run) []row {
		rows := []row{}
		for _, key := range r.keys() {
			if latest, ok := r.d.GetAsOf(st, &key, state.Latest); ok {
				rows = append(rows, row{Key: key, Value: latest.Value, TS: &latest.Timestamp})
			}
		}
		return rows
	}
	b.looks[st.Name()] = func(*context) (func(str) str, error) {
		return func(k str) str {
			if k == nil {
				return nil
			}
			panic(failedOn("lookup: a versioned store is no key-value store")) // as a cast fails in Java
		}, nil
	}
	return st
}

// keys are those that occurred in input or output, sorted.
func (r *run) keys() []string {
	seen := map[string]bool{}
	for _, in := range r.s.Input {
		if in.Key != nil {
			seen[*in.Key] = true
		}
	}
	for _, records := range r.got.Outputs {
		for _, o := range records {
			if o.Key != nil {
				seen[*o.Key] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}
