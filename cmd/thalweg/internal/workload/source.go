package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// source is what a workload reads.
type source struct {
	topics         []string   // tables, then inputs
	tables, inputs []*encoded // nil where a topic's contents are taken as they are

	// load fills the tables before the clock runs, feed the inputs while it does; nil where they are full.
	load, feed func(context.Context) error

	parts int // into which a run is divided, by its input; 0: it is not
}

// records is how many the inputs have.
func (s source) records() (n int) {
	for _, e := range s.inputs {
		n += e.records
	}
	return n
}

// data are the batches of all topics.
func (s source) data() Data { return Data{raw(s.tables), raw(s.inputs)} }

// encode makes the batches that are missing, for a comparison after the run. A set with many keys is compared without.
func (s source) encode() error {
	for _, e := range slices.Concat(s.tables, s.inputs) {
		if e.batches != nil || e.set.keyed != nil {
			continue
		}
		var err error
		if e.batches, err = e.set.encode(e.topic, e.records/max(e.set.Passes, 1)); err != nil {
			return err
		}
	}
	return nil
}

// source finds or makes the topics. The embedded broker is fed while the application runs, if it is not to be filled; a
// cluster before. It deletes the topics of data sets that it does not come to fill.
func (p *place) source(ctx context.Context, tables, inputs []string, o Options, r *Result) (src source, err error) {
	var unfilled []string
	defer func() {
		if r.Topics = src.topics; err != nil {
			err = errors.Join(err, p.deleteTopics(ctx, unfilled...))
		}
	}()
	if o.Input != "" {
		return p.asItIs(ctx, len(tables)+len(inputs), o.Input, r)
	}
	for _, set := range tables {
		e, err := p.encode(ctx, set, 0, Variant{})
		if err != nil {
			return src, err
		}
		src.tables, src.topics = append(src.tables, e), append(src.topics, e.topic)
		unfilled = e.appendMade(unfilled)
	}
	for _, set := range inputs {
		e, err := p.encode(ctx, set, o.Records, o.variant())
		if err != nil {
			return src, err
		}
		src.inputs, src.topics = append(src.inputs, e), append(src.topics, e.topic)
		unfilled = e.appendMade(unfilled)
		r.Records, r.Partitions = r.Records+int64(e.records), e.set.Partitions
	}
	if p.broker != nil && o.Filled {
		return src, p.feed(ctx, append(src.tables, src.inputs...)...)
	}
	if p.broker != nil {
		src.load = func(ctx context.Context) error { return p.feed(ctx, src.tables...) }
		src.feed = func(ctx context.Context) error { return p.feed(ctx, src.inputs...) }
		return src, nil
	}
	for _, e := range append(src.tables, src.inputs...) {
		there, _, err := p.records(ctx, e.topic)
		switch {
		case err != nil:
			return src, err
		case there == 0:
			if !slices.Contains(unfilled, e.topic) {
				unfilled = append(unfilled, e.topic)
			}
			if err := p.feedRecords(ctx, e); err != nil {
				return src, err
			}
			unfilled = slices.DeleteFunc(unfilled, func(topic string) bool { return topic == e.topic })
		case there != int64(e.records):
			return src, fmt.Errorf("bench: topic %s holds %d records, not the data set's %d: delete it", e.topic, there,
				e.records)
		}
	}
	return src, nil
}

// asItIs takes a topic of the user's own.
func (p *place) asItIs(ctx context.Context, needed int, topic string, r *Result) (src source, err error) {
	if needed != 1 {
		return src, fmt.Errorf("bench: -input: the workload reads %d topics", needed)
	}
	r.Records, r.Partitions, err = p.records(ctx, topic)
	if err == nil && r.Partitions == 0 {
		err = fmt.Errorf("bench: topic %s does not exist", topic)
	}
	return source{topics: []string{topic}}, err
}

// ofPartitions are the data sets like these of so many partitions. Those that can be made with any count keep their
// names.
func ofPartitions(sets []string, partitions int32) ([]string, error) {
	if partitions == 0 {
		return sets, nil
	}
	out := make([]string, len(sets))
	for i, name := range sets {
		if s, ok := SetOf(name); ok && s.keyed != nil {
			out[i] = name
			continue
		}
		base := name[:strings.LastIndexByte(name, '-')]
		out[i] = fmt.Sprintf("%s-%d", base, partitions)
		if _, ok := SetOf(out[i]); !ok {
			return nil, fmt.Errorf("bench: there is no data set %s: %s has another number of partitions", out[i], name)
		}
	}
	return out, nil
}

// encode makes a data set, or its beginning, and its topic. On a cluster its batches are missing: in memory they would
// count as the application's.
func (p *place) encode(ctx context.Context, set string, records int, v Variant) (*encoded, error) {
	s, ok := SetOf(set)
	if !ok {
		return nil, fmt.Errorf("bench: no data set %q", set)
	}
	s, err := s.variant(v)
	if err != nil {
		return nil, err
	}
	if records <= 0 || records > s.Records {
		records = s.Records
	}
	topic := s.Topic
	if records != s.Records {
		topic = fmt.Sprintf("%s-%d", s.Topic, records)
	}
	e := &encoded{set: s, topic: topic, records: records * max(s.Passes, 1)}
	if p.broker != nil {
		if e.batches, err = s.encode(topic, records); err != nil {
			return nil, err
		}
	}
	e.made, err = p.create(ctx, topic, s.Partitions)
	return e, err
}

// appendMade appends the topic of a data set if this run has made it.
func (e *encoded) appendMade(topics []string) []string {
	if e.made {
		return append(topics, e.topic)
	}
	return topics
}
