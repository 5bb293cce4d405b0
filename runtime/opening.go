package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/topology"
)

// opening is what a worker finds out about tasks before it makes them: where their inputs go on, how far the operators
// are, and what their stores are restored from. Nothing of the tasks exists yet, but what lies on this machine: a copy
// that does not fit is dropped.
type opening struct {
	app    *app
	client *kclient.Client
	log    *slog.Logger
	ids    []TaskID // in order
	now    time.Time

	outbox   *task.Outbox // that the tasks share
	warnings *warnings
	cut      *atomic.Bool // ends their turns

	positions
}

// look finds all of it out. Each step needs what the ones before it have found.
func (o *opening) look(ctx context.Context) error {
	for _, step := range []func(context.Context) error{o.askStarts, o.readTimes, o.compare, o.compareAbsent} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// positions is what is known of tasks before they are opened: where they start, and what their changelogs hold.
type positions struct {
	committed   map[kclient.TopicPartition]kclient.Offset // Next is -1 where the group has no offset of the topic as it is
	starts      map[kclient.TopicPartition]kclient.Offset // committed, or where the reset policy says
	fresh       map[kclient.TopicPartition]bool           // where it says, and is to be committed at once
	first, last map[kclient.TopicPartition]int64          // of what stores are restored from
	identity    kclient.Identity
	times       map[int32]map[string]int64         // of operators, by partition and name
	retentions  map[string]time.Duration           // of tombstones, of what stores are restored from
	origins     map[TaskID]map[string]state.Origin // by store
	expires     map[string]string                  // why the broker deletes from changelogs by itself, by topic
	policies    map[string]string                  // of inputs that fill stores and were cut, by topic
}

// askStarts asks for the committed offsets, or where a partition without one begins. With them it asks what the topics
// are, by which the tasks' inputs and stores are known.
func (o *opening) askStarts(ctx context.Context) error {
	var tps []kclient.TopicPartition
	topics := map[string]bool{o.app.noted.topic: true}
	for _, id := range o.ids {
		for _, tp := range o.app.layout().inputs(o.app.topo.Subtopologies()[id.Subtopology], id.Partition) {
			tps, topics[tp.Topic] = append(tps, tp), true
		}
		for _, f := range o.app.layout().fillingsOf(id) {
			if f.topic != "" {
				topics[f.topic] = true
			}
		}
	}
	offsets, err := o.client.CommittedOffsets(ctx, tps)
	if err != nil {
		return err
	}
	o.fresh = map[kclient.TopicPartition]bool{}
	if o.identity, err = o.client.Topics().Identify(ctx, sortedKeys(topics)...); err != nil {
		return err
	}
	dropped, err := o.dropForeign(ctx, offsets)
	if err != nil {
		return err
	}
	o.committed, o.starts = maps.Clone(offsets), offsets
	ask := map[int64][]kclient.TopicPartition{} // where to look → what for
	for _, tp := range tps {
		if offsets[tp].Next >= 0 {
			continue
		}
		r := o.app.layout().resets[tp.Topic]
		at, err := r.at(tp, o.now)
		if err != nil {
			return err
		}
		ask[at] = append(ask[at], tp)
		o.fresh[tp] = o.fresh[tp] || r.moves()
	}
	for _, at := range slices.Sorted(maps.Keys(ask)) {
		found, err := o.client.ListOffsets(ctx, ask[at], at, true)
		if err != nil {
			return err
		}
		for tp, offset := range found {
			offsets[tp] = kclient.Offset{TopicPartition: tp, Next: offset, LeaderEpoch: -1}
		}
	}
	return o.commitStarts(ctx, dropped)
}

// commitStarts commits where inputs start whose committed offsets are of topics that were deleted. The first commit of
// such an input notes the new topic before it has an offset there: after a crash in between, the one of the deleted
// topic would count.
func (o *opening) commitStarts(ctx context.Context, tps []kclient.TopicPartition) error {
	starts := make([]kclient.Offset, len(tps))
	for i, tp := range tps {
		starts[i] = o.starts[tp]
		starts[i].Metadata = task.StartMetadata()
	}
	return o.client.CommitOffsets(ctx, starts)
}

// dropForeign leaves out the offsets that the application itself has committed to a topic of the same name, which was
// deleted since. What something else has committed, such as a tool, is meant as it is.
func (o *opening) dropForeign(ctx context.Context, offsets map[kclient.TopicPartition]kclient.Offset) (
	dropped []kclient.TopicPartition, err error,
) {
	foreign := func() (tps []kclient.TopicPartition) {
		for tp, at := range offsets {
			note, noted := o.app.noted.get(inputKey(tp))
			if at.Next >= 0 && noted && task.HasWritten(at.Metadata) && origin.Same(note.Cluster, o.identity.Cluster) &&
				!origin.Same(note.TopicID, o.identity.Topics[tp.Topic]) {
				tps = append(tps, tp)
			}
		}
		return tps
	}
	if len(foreign()) == 0 {
		return nil, nil
	}
	// Another process may have begun with the new topic since this one has read the progress topic.
	if err := o.app.noted.refresh(ctx); err != nil {
		return nil, err
	}
	dropped = foreign()
	for _, tp := range dropped {
		o.log.Warn("the topic was deleted and recreated: the group's offset is of the deleted one; going on as the source's "+
			"reset policy says", "topic", tp.Topic, "partition", tp.Partition, "offset", offsets[tp].Next)
		offsets[tp] = kclient.Offset{TopicPartition: tp, Next: -1, LeaderEpoch: -1}
		o.fresh[tp] = true
	}
	return dropped, nil
}

// at is where ListOffsets has to look.
func (r resetting) at(tp kclient.TopicPartition, now time.Time) (int64, error) {
	switch r.Policy {
	case topology.ResetLatest:
		return kclient.Latest, nil
	case topology.ResetBack:
		return max(now.UnixMilli()-r.BackMillis, 0), nil
	case topology.ResetNone:
		return 0, ofKind(ErrNoOffset,
			fmt.Errorf("node %s (%s): the group has no committed offset for %s, and the source's reset policy "+
				"is none: commit one, or choose earliest or latest", r.node, r.site, tp))
	default:
		return kclient.Earliest, nil
	}
}

// moves tells whether the policy says something else later.
func (r resetting) moves() bool {
	return r.Policy == topology.ResetLatest || r.Policy == topology.ResetBack
}

// readTimes reads how far the operators of tasks are that are about to be opened. Their committed offsets are known, so
// what their former owners have committed is decided.
func (o *opening) readTimes(ctx context.Context) (err error) {
	partitions := map[int32]bool{}
	for _, id := range o.ids {
		if len(o.app.topo.Subtopologies()[id.Subtopology].Stores) > 0 {
			partitions[id.Partition] = true
		}
	}
	if len(partitions) > 0 {
		topic := o.app.noted.topic
		o.times, err = o.app.times.read(ctx, o.client, topic, o.identity.Topics[topic], partitions)
	}
	return err
}

// mark is how far the note of an input has come.
type mark uint8

// The marks of an input.
const (
	unnoted   mark = iota // its topic is not noted beside its committed offset
	announced             // noted; its first commit is under way
	noted                 // and it is noted that there was one
)

// markOf is how far the note of an input has come when its task is opened.
func (o *opening) markOf(tp kclient.TopicPartition) mark {
	note, ok := o.app.noted.get(inputKey(tp))
	switch {
	case !ok || note.TopicID != o.identity.Topics[tp.Topic] || note.Cluster != o.identity.Cluster:
		return unnoted
	case note.Committed && !o.app.noted.isLowered(inputKey(tp)):
		return noted
	case o.committed[tp].Next >= 0:
		return announced
	}
	return unnoted
}
