package stream

import (
	"fmt"
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

// checkCodec says what is wrong with a pair of serdes, of records that are written or only read.
func checkCodec(site, what string, keys, values any, written bool) (errs []error) {
	if keys == nil || values == nil {
		return []error{fmt.Errorf("%s: %s: it has no serde: make it with NewTopic", site, what)}
	}
	for _, s := range []struct {
		of    string
		serde any
	}{{"key", keys}, {"value", values}} {
		if err := serde.Check(s.serde); err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %s: %w", site, what, s.of, err))
		}
	}
	if err := serde.CheckKey(keys); err != nil && written && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%s: %s: key: %w", site, what, err))
	}
	return errs
}
