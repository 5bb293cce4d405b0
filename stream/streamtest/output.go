package streamtest

import (
	"fmt"
	"slices"
	"strings"

	"thalweg/serde"
	"thalweg/topology"
)

// Output is a topic that a test reads, from its start. Records of several partitions come in the order in which they
// were written.
type Output[K, V any] struct {
	out    *output
	decode func(Written) (topology.Record[K, V], error)
}

// output is the part of an Output that does not know its types.
type output struct {
	d     *Driver
	topic string
	read  int
}

// Output opens a topic for reading: one that the topology writes, the topic of dead letters, or an internal topic. Any
// other fails the test, unless records name topics, as with ToDynamic.
func (d *Driver) Output[K, V any](t Topic[K, V]) *Output[K, V] {
	d.t.Helper()
	d.mustWrite(t.Name())
	keys, values := t.Serdes()
	return &Output[K, V]{out: &output{d: d, topic: t.Name()}, decode: func(w Written) (topology.Record[K, V], error) {
		r, err := decode(w, keys, values)
		if err != nil {
			err = fmt.Errorf("topic %s partition %d offset %d: %w", t.Name(), w.Partition, w.Offset, err)
		}
		return r, err
	}}
}

func (d *Driver) mustWrite(topic string) {
	d.t.Helper()
	if d.config.Errors.DeadLetters != "" && topic == d.config.Errors.DeadLetters || d.isChangelog(topic) {
		return
	}
	var writes []string
	for _, n := range d.topo.Nodes() {
		if n.Kind != topology.KindSink {
			continue
		}
		name := n.Sink.In(d.config.ApplicationID)
		if name == topic || n.RecordsNameTopic {
			return
		}
		writes = append(writes, name)
	}
	slices.Sort(writes)
	d.t.Fatalf("streamtest: output: the topology does not write topic %s; it writes %s", topic,
		strings.Join(slices.Compact(writes), ", "))
}

func (o *output) len() int { return len(o.d.topic(o.topic).records) - o.read }

// next takes the next record.
func (o *output) next() Written {
	o.d.t.Helper()
	if o.len() == 0 {
		o.d.t.Fatalf("streamtest: read: topic %s has no more than %d records", o.topic, o.read)
	}
	o.read++
	return o.d.topic(o.topic).records[o.read-1]
}

// Len is the number of records not read yet.
func (o *Output[K, V]) Len() int { return o.out.len() }

// Read reads the next record. If there is none, the test fails.
func (o *Output[K, V]) Read() topology.Record[K, V] {
	o.out.d.t.Helper()
	r, err := o.decode(o.out.next())
	o.out.d.must(err)
	return r
}

// ReadAll reads what is there.
func (o *Output[K, V]) ReadAll() []topology.Record[K, V] {
	o.out.d.t.Helper()
	records := make([]topology.Record[K, V], 0, o.Len())
	for o.Len() > 0 {
		records = append(records, o.Read())
	}
	return records
}

// ReadValues reads what is there, and returns the values; null is the zero value.
func (o *Output[K, V]) ReadValues() []V {
	o.out.d.t.Helper()
	values := make([]V, 0, o.Len())
	for o.Len() > 0 {
		values = append(values, o.Read().Value)
	}
	return values
}

// ReadStrings reads what is there and writes each record as key=value@timestamp, with ~ for null.
func (o *Output[K, V]) ReadStrings() []string {
	o.out.d.t.Helper()
	lines := make([]string, 0, o.Len())
	for o.Len() > 0 {
		r := o.Read()
		lines = append(lines, format(r.Key, r.NullKey, r.Value, r.NullValue, r.Timestamp))
	}
	return lines
}

// format writes a record as key=value@timestamp, with ~ for null.
func format(key any, nullKey bool, value any, nullValue bool, timestamp int64) string {
	if nullKey {
		key = "~"
	}
	if nullValue {
		value = "~"
	}
	return fmt.Sprintf("%v=%v@%d", key, value, timestamp)
}

func decode[K, V any](w Written, keys serde.Serde[K], values serde.Serde[V]) (r topology.Record[K, V], err error) {
	r.Timestamp, r.Headers = w.Timestamp, w.Headers
	r.NullKey, r.NullValue = w.Key == nil, w.Value == nil
	if !r.NullKey {
		if r.Key, err = keys.Decode(w.Key); err != nil {
			return r, fmt.Errorf("key: %w", err)
		}
	}
	if !r.NullValue {
		if r.Value, err = values.Decode(w.Value); err != nil {
			return r, fmt.Errorf("value: %w", err)
		}
	}
	return r, nil
}

// Latest reads what is there and returns each key's last value; a null value takes the key out.
func Latest[K comparable, V any](o *Output[K, V]) map[K]V {
	o.out.d.t.Helper()
	rows := map[K]V{}
	for _, r := range o.ReadAll() {
		if r.NullValue {
			delete(rows, r.Key)
		} else {
			rows[r.Key] = r.Value
		}
	}
	return rows
}
