package runtime

import (
	"context"
	"slices"

	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/internal/progress"
	"thalweg/state"
)

// The progress topic has, for each partition of a store that an input fills, where the input began when the store was
// filled, and up to where its owner lets records expire. An input that begins later lacks what the store has. The
// record is the store's and not the input's, since each store that an input fills may have been filled at another time.

func filledKey(f filling, partition int32) progress.Key {
	return progress.Key{Kind: progress.Filled, Name: f.name, Partition: partition}
}

// filled is what is noted of a store that an input fills. ok is false where nothing is noted of the topic as it is.
func (p *progressTopic) filled(f filling, partition int32, id kclient.Identity) (note progress.Value, ok bool) {
	note, ok = p.get(filledKey(f, partition))
	ok = ok && note.Topic == f.topic && origin.Same(note.TopicID, id.Topics[f.topic]) &&
		origin.Same(note.Cluster, id.Cluster)
	if !ok {
		return progress.Value{Topic: f.topic, TopicID: id.Topics[f.topic], Cluster: id.Cluster}, false
	}
	return note, true
}

// listFilled lists where the inputs begin that fill a store. What is missing of those that are not listed yet, because
// an older build has filled the store, is not known, and they are adopted as they are.
func (v *inventory) listFilled(ctx context.Context, f filling) error {
	if f.from != state.FromInput {
		return nil
	}
	tps := partitionsOf(f.topic, v.lay.filled(f))
	settled := func(tp kclient.TopicPartition) bool {
		note, ok := v.noted.filled(f, tp.Partition, v.identity)
		return ok && note.Expired == origin.Expired(note.Expired, v.policies[f.topic], 0)
	}
	if !slices.ContainsFunc(tps, func(tp kclient.TopicPartition) bool { return !settled(tp) }) {
		return nil
	}
	first, err := v.client.ListOffsets(ctx, tps, kclient.Earliest, false)
	for tp, at := range first {
		note, ok := v.noted.filled(f, tp.Partition, v.identity)
		if !ok {
			note.Offset = at
		}
		note.Expired = origin.Expired(note.Expired, v.policies[f.topic], at)
		v.changes[filledKey(f, tp.Partition)] = &note
	}
	return err
}

// askInputs looks for inputs that fill stores and begin later than what is noted of them. It returns their policies.
// first has where they begin.
func (p *progressTopic) askInputs(
	ctx context.Context, c *kclient.Client, lay *layout, first map[kclient.TopicPartition]int64, id kclient.Identity,
) (map[string]string, error) {
	var topics []string
	for _, f := range lay.fillings {
		for tp, at := range first {
			if f.from != state.FromInput || f.topic != tp.Topic || slices.Contains(topics, f.topic) {
				continue
			}
			if note, ok := p.filled(f, tp.Partition, id); ok && at > note.Offset {
				topics = append(topics, f.topic)
			}
		}
	}
	if len(topics) == 0 {
		return nil, nil
	}
	// The process that had the task before may have noted more since this one has read the progress topic.
	if err := p.refresh(ctx); err != nil {
		return nil, err
	}
	return c.Topics().CleanupPolicies(ctx, topics...)
}

// since fills in what the application knows of a store whose input begins at l.First: nothing is missing where it has
// noted nothing.
func (p *progressTopic) since(l *origin.Local, f filling, pos *positions) {
	note, ok := p.filled(f, l.Partition, pos.identity)
	if !ok {
		note.Offset = l.First
	}
	if l.Accepted = note.Offset; l.First > l.Accepted {
		l.Expires = origin.Expiry(note.Expired, pos.policies[f.topic], l.First)
	}
}

// refill adds the note of a store that is restored from where its input begins, if it is one that an input fills.
func (p *progressTopic) refill(notes map[progress.Key]*progress.Value, l origin.Local, f filling, pos *positions) {
	if f.from != state.FromInput {
		return
	}
	note, _ := p.filled(f, l.Partition, pos.identity)
	note.Offset = max(note.Offset, l.First)
	note.Expired = origin.Expired(note.Expired, pos.policies[f.topic], l.First)
	notes[filledKey(f, l.Partition)] = &note
}
