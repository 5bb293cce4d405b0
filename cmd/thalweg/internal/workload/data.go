// Package workload has the benchmark's data sets, bit for bit as defined in docs/performance.md, and a hand-written
// loop for each workload: the same bytes in memory, decoded, processed and encoded with nothing in between.
package workload

import (
	"encoding/binary"
	"slices"
	"strconv"
)

// Start is the timestamp of the first record of each data set, in milliseconds.
const Start int64 = 1_790_000_000_000

// Record is one generated record. Key and Value are valid until the next one.
type Record struct {
	Partition int32
	Key       []byte // nil is null
	Value     []byte
	Timestamp int64
}

// Set is a data set: a topic's contents.
type Set struct {
	Topic      string
	Partitions int32
	Records    int                                               // how many it has as defined
	Words      int                                               // words per record, where these are what is counted
	Generate   func(records int, emit func(*Record) error) error // the first so many records
	Passes     int                                               // times that the records follow each other; 0 is once
	keyed      *keyed                                            // nil: its keys are as defined
	distinct   bool                                              // each record has a key of its own
}

// Sets are the data sets by topic.
func Sets() []Set {
	return append(keyedSets(), []Set{
		{Topic: "lines-1", Partitions: 1, Records: 500_000, Words: 10, Generate: lines(1)},
		{Topic: "lines-4", Partitions: 4, Records: 500_000, Words: 10, Generate: lines(4)},
		{Topic: "words-1", Partitions: 1, Records: 3_000_000, Generate: words},
		{Topic: "events-1", Partitions: 1, Records: 3_000_000, Generate: events},
		{Topic: "table-1", Partitions: 1, Records: 100_000, Generate: table},
		{Topic: "left-1", Partitions: 1, Records: 500_000, Generate: side(5)},
		{Topic: "right-1", Partitions: 1, Records: 500_000, Generate: side(6)},
		{Topic: "uniq-1", Partitions: 1, Records: 1_000_000, Generate: unique, distinct: true},
	}...)
}

// SetOf is the data set of a topic.
func SetOf(topic string) (Set, bool) {
	i := slices.IndexFunc(Sets(), func(s Set) bool { return s.Topic == topic })
	if i < 0 {
		return Set{}, false
	}
	return Sets()[i], true
}

// random is SplitMix64 (Steele, Lea, Flood; Vigna's constants).
type random struct{ state uint64 }

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	return mix(r.state)
}

func (r *random) unit() float64 { return float64(r.next()>>11) * 0x1p-53 }

func (r *random) below(n int) int { return int(r.unit() * float64(n)) }

// payload appends n bytes: a digit, then letters.
func (r *random) payload(dst []byte, n int) []byte {
	dst = append(dst, byte('0'+r.below(10)))
	for n--; n > 0; n -= 8 {
		x := r.next()
		for k := range min(n, 8) {
			dst = append(dst, 'a'+byte(x>>(8*k))&15)
		}
	}
	return dst
}

// vocabulary is Zipf's law with exponent 1 over words of 3 to 9 letters and more for high ranks.
type vocabulary struct {
	cumulative []float64
	words      [][]byte
}

const vocabularySize = 100_000

func newVocabulary() *vocabulary {
	v := &vocabulary{cumulative: make([]float64, vocabularySize), words: make([][]byte, vocabularySize)}
	sum := 0.0
	for r := range v.cumulative {
		sum += 1 / float64(r+1)
		v.cumulative[r] = sum
		v.words[r] = word(r)
	}
	for r := range v.cumulative {
		v.cumulative[r] /= sum
	}
	return v
}

func word(rank int) []byte {
	w := strconv.AppendInt([]byte{'w'}, int64(rank), 10)
	for size := 3 + int((mix(uint64(rank))>>1)%7); len(w) < size; {
		w = append(w, 'x')
	}
	return w
}

func (v *vocabulary) draw(r *random) []byte {
	i, _ := slices.BinarySearch(v.cumulative, r.unit())
	return v.words[min(i, vocabularySize-1)]
}

func lines(partitions int) func(int, func(*Record) error) error {
	return func(n int, emit func(*Record) error) error {
		r, v, rec := random{1}, newVocabulary(), Record{}
		for i := range n {
			rec.Value = rec.Value[:0]
			for w := range 10 {
				if w > 0 {
					rec.Value = append(rec.Value, ' ')
				}
				rec.Value = append(rec.Value, v.draw(&r)...)
			}
			rec.Partition, rec.Timestamp = int32(i%partitions), Start+int64(i)
			if err := emit(&rec); err != nil {
				return err
			}
		}
		return nil
	}
}

func words(n int, emit func(*Record) error) error {
	r, v, rec := random{2}, newVocabulary(), Record{}
	for i := range n {
		rec.Key = v.draw(&r)
		rec.Value = binary.BigEndian.AppendUint64(rec.Value[:0], uint64(i))
		rec.Timestamp = Start + int64(i)
		if err := emit(&rec); err != nil {
			return err
		}
	}
	return nil
}

func events(n int, emit func(*Record) error) error {
	r, rec := random{3}, Record{}
	for i := range n {
		rec.Key = appendKey(rec.Key[:0], "key-", r.below(100_000), 6)
		rec.Timestamp = Start + int64(i) + int64(r.below(4001)) - 2000
		rec.Value = r.payload(rec.Value[:0], 100)
		if err := emit(&rec); err != nil {
			return err
		}
	}
	return nil
}

func table(n int, emit func(*Record) error) error {
	r, rec := random{4}, Record{}
	for i := range n {
		rec.Key = appendKey(rec.Key[:0], "key-", i, 6)
		rec.Timestamp = Start - 3_600_000 + int64(i)
		rec.Value = r.payload(rec.Value[:0], 100)
		if err := emit(&rec); err != nil {
			return err
		}
	}
	return nil
}

func side(seed uint64) func(int, func(*Record) error) error {
	return func(n int, emit func(*Record) error) error {
		r, rec := random{seed}, Record{}
		for i := range n {
			rec.Key = appendKey(rec.Key[:0], "key-", r.below(100_000), 6)
			rec.Timestamp = Start + int64(i/10)
			rec.Value = r.payload(rec.Value[:0], 100)
			if err := emit(&rec); err != nil {
				return err
			}
		}
		return nil
	}
}

func unique(n int, emit func(*Record) error) error {
	r, rec, keys := random{7}, Record{}, max(n, 1_000_000)
	stride := strideFor(keys)
	for i := range n {
		rec.Key = appendKey(rec.Key[:0], "uniq-", i*stride%keys, 7)
		rec.Timestamp = Start + int64(i)
		rec.Value = r.payload(rec.Value[:0], 100)
		if err := emit(&rec); err != nil {
			return err
		}
	}
	return nil
}

// strideFor returns a step through so many keys that comes to each of them before it comes to any twice.
func strideFor(keys int) int {
	stride := 7_368_787
	for gcd(stride, keys) > 1 {
		stride += 2
	}
	return stride
}

func gcd(a, b int) int {
	for b > 0 {
		a, b = b, a%b
	}
	return a
}

// appendKey appends prefix and n with leading zeros to width digits.
func appendKey(dst []byte, prefix string, n, width int) []byte {
	dst = append(dst, prefix...)
	for at := 1; width > 1; width-- {
		at = 1
		for range width - 1 {
			at *= 10
		}
		if n >= at {
			break
		}
		dst = append(dst, '0')
	}
	return strconv.AppendInt(dst, int64(n), 10)
}
