package stream

import (
	"time"

	"thalweg/serde"
	"thalweg/topology"
)

// Topic names a topic and says what its records are: see [topology.Topic].
type Topic[K, V any] = topology.Topic[K, V]

// NewTopic names a topic. Its serdes are found by type ([serde.ForTopic]; [WindowedKey] has its own).
func NewTopic[K, V any](name string) Topic[K, V] { return topology.NewTopic[K, V](name) }

// Reset is where reading a topic starts while there is no offset.
type Reset = topology.Reset

// Earliest starts with the oldest record.
func Earliest() Reset { return Reset{Policy: topology.ResetEarliest} }

// Latest starts with the next record.
func Latest() Reset { return Reset{Policy: topology.ResetLatest} }

// Refuse does not start without an offset.
func Refuse() Reset { return Reset{Policy: topology.ResetNone} }

// Back starts with the first record that is not older than d.
func Back(d time.Duration) Reset {
	return Reset{Policy: topology.ResetBack, BackMillis: d.Milliseconds()}
}

func checkTopic[K, V any](b *Builder, site, op string, t Topic[K, V]) {
	if err := topology.CheckTopicName(t.Name()); err != nil {
		b.fail(site, "%s: topic: %w", op, err)
		return
	}
	keys, values := t.Serdes()
	checkSerdes(b, site, op+": topic "+t.Name(), keys, values)
}

func checkSerdes[K, V any](b *Builder, site, what string, keys serde.Serde[K], values serde.Serde[V]) {
	if keys == nil || values == nil {
		b.fail(site, "%s: it has no serde: make it with NewTopic", what)
		return
	}
	if err := serde.Check(keys); err != nil {
		b.fail(site, "%s: key: %w", what, err)
	}
	if err := serde.Check(values); err != nil {
		b.fail(site, "%s: value: %w", what, err)
	}
}
