package workload

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// check finds out whether the work was done.
func (p *place) check(ctx context.Context, w Workload, in source, out string, r *Result) error {
	if len(in.inputs) == 1 && in.inputs[0].batches == nil {
		return p.compareKeyed(ctx, in.inputs[0], out, r)
	}
	if w.compared {
		return p.compare(ctx, w, in, out, r)
	}
	return p.checkCounts(ctx, w.Name, out, r)
}

// checkCounts adds up the last counts of all keys: they are what came in.
func (p *place) checkCounts(ctx context.Context, name, out string, r *Result) error {
	last := map[string]int64{}
	err := p.read(ctx, out, func(r *kgo.Record) {
		if r.Value == nil { // a session that has become another
			delete(last, string(r.Key))
			return
		}
		last[string(r.Key)] = int64(binary.BigEndian.Uint64(r.Value))
	})
	if err != nil {
		return err
	}
	sum := int64(0)
	for _, n := range last {
		sum += n
	}
	if want := max(r.Records, r.Words); sum != want && r.Words+r.Records > 0 && !(name == "wordcount" && r.Words == 0) {
		return fmt.Errorf("bench: the counts add up to %d, not %d", sum, want)
	}
	if r.Words == 0 && name == "wordcount" { // the input is the user's own topic
		r.Words = sum
		r.PerSecond, r.PerCPUSecond = float64(sum)/r.WallSeconds, float64(sum)/r.CPUSeconds
	}
	r.Results = int64(len(last))
	r.Checked = fmt.Sprintf("%d keys add up to %d", len(last), sum)
	return nil
}

// compare compares what came out with what the hand-written loop makes. What that would be of a user's own topic is not
// known.
func (p *place) compare(ctx context.Context, w Workload, in source, out string, r *Result) error {
	want, got := newResults(w.table), newResults(w.table)
	// The time of a joined row depends on which side came last: only a feeder sends all of one side before the other.
	want.timeless, got.timeless = w.table && r.Filled, w.table && r.Filled
	if _, err := Handwritten(w.Name, in.data(), 1<<30, want); err != nil {
		return err
	}
	err := p.read(ctx, out, func(r *kgo.Record) { got.add(r.Timestamp.UnixMilli(), r.Key, r.Value) })
	if err != nil {
		return err
	}
	r.Results = int64(got.n())
	if len(in.inputs) == 0 {
		r.Checked = fmt.Sprintf("%d results, which nobody knows better", got.n())
		return nil
	}
	if got.sum() != want.sum() || got.n() != want.n() {
		return fmt.Errorf("bench: %d results came out, not the %d of the hand-written loop, or others", got.n(), want.n())
	}
	r.Checked = fmt.Sprintf("%d results, those of the hand-written loop", got.n())
	return nil
}

// read reads a topic as far as it is committed.
func (p *place) read(ctx context.Context, topic string, each func(*kgo.Record)) error {
	ends, err := p.admin.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("bench: list offsets of topic %s: %w", topic, err)
	}
	from, left := map[int32]kgo.Offset{}, map[int32]int64{}
	for _, o := range ends[topic] {
		if o.Offset > 0 {
			from[o.Partition], left[o.Partition] = kgo.NewOffset().At(0), o.Offset
		}
	}
	client, err := p.connect(kgo.KeepControlRecords(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		return err
	}
	defer client.Close()
	for len(left) > 0 {
		fetched := client.PollFetches(ctx)
		if err := fetched.Err(); err != nil {
			return fmt.Errorf("bench: read topic %s: %w", topic, err)
		}
		for r := range fetched.RecordsAll() {
			if !r.Attrs.IsControl() {
				each(r)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		}
	}
	return nil
}

func milliseconds(ms int64) time.Time { return time.UnixMilli(ms) }
