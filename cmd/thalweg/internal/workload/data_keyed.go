package workload

import (
	"fmt"
	"math"

	"thalweg/topology"
)

// keyed describes a data set whose records have keys drawn from a number of keys and values of 100 bytes. A record's
// partition is that of Kafka's default partitioner.
type keyed struct {
	seed uint64
	keys int
	zipf bool // a key's frequency is the inverse of its rank; else all keys are equally frequent
}

// keyedSets are the data sets of state that does not fit into memory. They can be made with other counts of keys,
// partitions and passes, see Set.variant.
func keyedSets() []Set {
	return []Set{
		keyed{seed: 8, keys: 4_000_000}.set("big-1", 1, 4_000_000),
		keyed{seed: 9, keys: 20_000_000}.set("huge-1", 4, 20_000_000),
		keyed{seed: 10, keys: 20_000_000, zipf: true}.set("huge-z", 4, 20_000_000),
		keyed{seed: 11, keys: 100_000}.set(tasksSet, 4, 2_000_000),
	}
}

func (k keyed) set(topic string, partitions int32, records int) Set {
	return Set{
		Topic: topic, Partitions: partitions, Records: records, Generate: k.generate(partitions), Passes: 1, keyed: &k,
	}
}

// generate emits the same keys and values in each pass when it is called with the records of one pass; timestamps are
// the caller's concern.
func (k keyed) generate(partitions int32) func(int, func(*Record) error) error {
	return func(n int, emit func(*Record) error) error {
		r, rec := random{k.seed}, Record{}
		draw := r.below
		if k.zipf {
			draw = newZipf(&r, k.keys).draw
		}
		for i := range n {
			rec.Key = appendKey(rec.Key[:0], keyPrefix, draw(k.keys), 12)
			rec.Partition = 0
			if partitions > 1 {
				rec.Partition = topology.PartitionFor(rec.Key, partitions)
			}
			rec.Timestamp = Start + int64(i)
			rec.Value = r.payload(rec.Value[:0], 100)
			if err := emit(&rec); err != nil {
				return err
			}
		}
		return nil
	}
}

const keyPrefix = "key-"

// variant is the data set with another count of partitions, keys, records or passes, where these are not 0. Each pass
// has the same keys and values, with later timestamps.
func (s Set) variant(v Variant) (Set, error) {
	if s.distinct && v.Keys > 0 && v.Passes <= 1 {
		s.Topic, s.Records = fmt.Sprintf("%s-k%d", s.Topic, v.Keys), v.Keys
		return s, nil
	}
	if s.keyed == nil {
		if v.Keys != 0 || v.Passes > 1 {
			return s, fmt.Errorf("bench: data set %s cannot be made with other keys or passes", s.Topic)
		}
		return s, nil
	}
	k, out := *s.keyed, s
	if v.Partitions != 0 && v.Partitions != s.Partitions {
		out.Topic, out.Partitions = fmt.Sprintf("%s-p%d", out.Topic, v.Partitions), v.Partitions
	}
	if v.Keys != 0 && v.Keys != k.keys {
		if v.Keys < 0 {
			return s, fmt.Errorf("bench: --keys %d: at least one is needed", v.Keys)
		}
		out.Topic, k.keys = fmt.Sprintf("%s-k%d", out.Topic, v.Keys), v.Keys
	}
	out.keyed, out.Generate = &k, k.generate(out.Partitions)
	if v.Passes > 1 {
		out.Topic, out.Passes = fmt.Sprintf("%s-x%d", out.Topic, v.Passes), v.Passes
	}
	return out, nil
}

// Variant is how a data set differs from its definition. Zero values keep the definition.
type Variant struct {
	Partitions int32
	Keys       int
	Passes     int // how many times the records follow each other
}

// each emits the records of all passes.
func (s Set) each(records int, emit func(*Record) error) error {
	for pass := range max(s.Passes, 1) {
		later := int64(pass) * int64(records)
		err := s.Generate(records, func(r *Record) error {
			r.Timestamp += later
			err := emit(r)
			r.Timestamp -= later
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// zipf draws ranks by Zipf's law with exponent 1, by rejection-inversion (Hörmann, Derflinger 1996), which needs no
// table of the ranks.
type zipf struct {
	r           *random
	first, last float64 // the integral of 1/x up to the first and the last rank
	accept      float64
}

func newZipf(r *random, n int) *zipf {
	return &zipf{
		r: r, first: math.Log(1.5) - 1, last: math.Log(float64(n) + 0.5),
		accept: 2 - math.Exp(math.Log(2.5)-0.5),
	}
}

// draw returns a rank from 0 to n-1.
func (z *zipf) draw(n int) int {
	for {
		u := z.last + z.r.unit()*(z.first-z.last)
		x := math.Exp(u)
		k := min(max(math.Floor(x+0.5), 1), float64(n))
		if k-x <= z.accept || u >= math.Log(k+0.5)-1/k {
			return int(k) - 1
		}
	}
}
