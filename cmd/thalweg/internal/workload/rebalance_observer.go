package workload

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/serde"
	"thalweg/state"
	"thalweg/stream"
	"thalweg/topology"
)

// counting is a result of the rebalance workload: how many records of the key there were, when the last one was due,
// and which process counted it.
type counting struct{ count, due, process int64 }

const countingBytes = 24

type countingSerde struct{}

func (countingSerde) Append(dst []byte, v counting) ([]byte, error) {
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.count))
	dst = binary.BigEndian.AppendUint64(dst, uint64(v.due))
	return binary.BigEndian.AppendUint64(dst, uint64(v.process)), nil
}

func (countingSerde) Decode(src []byte) (counting, error) {
	if len(src) != countingBytes {
		return counting{}, fmt.Errorf("counting: want %d bytes, got %d", countingBytes, len(src))
	}
	at := func(i int) int64 { return int64(binary.BigEndian.Uint64(src[i:])) }
	return counting{at(0), at(8), at(16)}, nil
}

// taskOf returns the task to which a key is sent; -1 for one that is not sent.
func taskOf(key string) int {
	n, err := strconv.Atoi(key)
	if err != nil || n < 0 {
		return -1
	}
	return n / keysOfTask
}

// located counts per key, tells each update at once, and says where it was made. A task has one partition of results.
func located(in, out string, process int) (*topology.Topology, error) {
	b := stream.NewBuilder()
	b.Stream(stream.NewTopic[string, []byte](in)).
		GroupByKey().
		Emit(stream.OnUpdate).
		Aggregate(state.NewKV[string, counting]("counting").Values(serde.Serde[counting](countingSerde{})),
			func() counting { return counting{} },
			func(_ string, v []byte, c counting) counting {
				return counting{c.count + 1, int64(binary.BigEndian.Uint64(v)), int64(process)}
			}).
		ToStream().
		To(stream.NewTopic[string, counting](out).Values(countingSerde{}).
			Partition(func(key string, _ counting, _ int) int { return taskOf(key) }))
	return b.Build()
}

// observer follows the results.
type observer struct {
	exact bool // each record counts once

	mu       sync.Mutex
	keys     []counting // the last result of each
	phases   []*phase
	seen     int           // results, each once
	repeated int           // results that were there before
	wanted   int           // results that somebody waits for; 0: nobody does
	complete chan struct{} // closed when these are there
}

// phase is the time of an event. Records that are due from its begin until the next one's belong to it.
type phase struct {
	event string
	of    int // the process that it is about
	took  time.Duration
	from  int64
	tasks []taskPhase
}

// nobody is the process of an event that ends none.
const nobody = -1

// taskPhase is what was seen of a task in a phase.
type taskPhase struct {
	results int
	longest int64 // microseconds from when a record was due to its result
	process int64 // of the last result
}

func newObserver(tasks int, exact bool) *observer {
	o := &observer{exact: exact, keys: make([]counting, tasks*keysOfTask), complete: make(chan struct{})}
	o.begin("start", nobody)
	return o
}

// begin begins a phase.
func (o *observer) begin(event string, of int) *phase {
	o.mu.Lock()
	defer o.mu.Unlock()
	next := &phase{event: event, of: of, from: time.Now().UnixMicro(), tasks: make([]taskPhase, len(o.keys)/keysOfTask)}
	o.phases = append(o.phases, next)
	return next
}

// end ends the last phase.
func (o *observer) end() { o.begin("end", nobody) }

// follow reads the results until ctx ends.
func (p *place) follow(ctx context.Context, topic string, partitions int32, o *observer) error {
	from := map[int32]kgo.Offset{}
	for i := range partitions {
		from[i] = kgo.NewOffset().At(0)
	}
	client, err := p.connect(kgo.FetchMaxWait(time.Second), kgo.FetchMinBytes(1),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return err
	}
	defer client.Close()
	for {
		fetched := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetched.Err(); err != nil {
			return fmt.Errorf("bench: receive: %w", err)
		}
		if err := o.take(fetched, time.Now().UnixMicro()); err != nil {
			return err
		}
	}
}

// take notes results that have arrived.
func (o *observer) take(fetched kgo.Fetches, now int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for r := range fetched.RecordsAll() {
		key, err := strconv.Atoi(string(r.Key))
		if err != nil || key < 0 || key >= len(o.keys) || key/keysOfTask != int(r.Partition) {
			return fmt.Errorf("bench: topic %s partition %d offset %d: key %q was not sent", r.Topic, r.Partition, r.Offset,
				r.Key)
		}
		c, err := countingSerde{}.Decode(r.Value)
		if err != nil {
			return fmt.Errorf("bench: topic %s partition %d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
		if err := o.note(key, c, now); err != nil {
			return fmt.Errorf("bench: topic %s partition %d offset %d: %w", r.Topic, r.Partition, r.Offset, err)
		}
	}
	if o.wanted > 0 && o.seen >= o.wanted {
		close(o.complete)
		o.wanted = 0
	}
	return nil
}

// note notes one result.
func (o *observer) note(key int, c counting, now int64) error {
	last := o.keys[key]
	if o.exact && (c.count != last.count+1 || c.due <= last.due) {
		return fmt.Errorf("key %d: the count went from %d to %d, that of a record due %d µs later", key, last.count, c.count,
			c.due-last.due)
	}
	if c.due <= last.due {
		o.repeated++
		o.keys[key].count = max(last.count, c.count)
		return nil
	}
	o.keys[key] = c
	o.seen++
	at := len(o.phases) - 1
	for at > 0 && o.phases[at].from > c.due {
		at--
	}
	t := &o.phases[at].tasks[key/keysOfTask]
	t.results++
	t.longest, t.process = max(t.longest, now-c.due), c.process
	return nil
}

// await waits until there are so many results.
func (o *observer) await(ctx context.Context, n int) error {
	o.mu.Lock()
	if o.wanted = n; o.seen >= n {
		o.mu.Unlock()
		return nil
	}
	o.mu.Unlock()
	select {
	case <-o.complete:
		return nil
	case <-ctx.Done():
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Errorf("bench: %d of %d results have arrived: %w", o.seen, n, ctx.Err())
}

// check says what the counts add up to.
func (o *observer) check(sent int) (string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	sum, keys := 0, 0
	for _, c := range o.keys {
		if sum += int(c.count); c.count > 0 {
			keys++
		}
	}
	switch {
	case o.exact && sum != sent, sum < sent, o.seen != sent:
		return "", fmt.Errorf("bench: %d records were sent: %d results came, and the counts add up to %d", sent, o.seen, sum)
	case o.exact:
		return fmt.Sprintf("each of %d records has one result, the counts of %d keys add up to them", sent, keys), nil
	}
	return fmt.Sprintf("each of %d records has a result, %d came again; the counts of %d keys add up to %d", sent,
		o.repeated, keys, sum), nil
}

// standstills says how long the tasks stood still in each phase, by what became of them.
func (o *observer) standstills() (all []Standstill, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, p := range o.phases[1 : len(o.phases)-1] {
		kinds := map[string][]int64{}
		for n, t := range p.tasks {
			before := o.phases[i].tasks[n]
			if t.results == 0 || before.results == 0 {
				return nil, fmt.Errorf("bench: partition %d has no record that was due between the begins of two events: use "+
					"a higher --rate or a longer --measure", n)
			}
			kind := "moved"
			switch before.process {
			case int64(p.of):
				kind = "process"
			case t.process:
				kind = "stayed"
			}
			kinds[kind] = append(kinds[kind], t.longest)
		}
		for _, kind := range []string{"stayed", "moved", "process"} {
			longest := kinds[kind]
			if len(longest) == 0 {
				continue
			}
			slices.Sort(longest)
			all = append(all, Standstill{
				Event: p.event, Seconds: p.took.Seconds(), Kind: kind, Tasks: len(longest),
				MedianMillis: float64(longest[len(longest)/2]) / 1000, MaxMillis: float64(longest[len(longest)-1]) / 1000,
			})
		}
	}
	return all, nil
}
