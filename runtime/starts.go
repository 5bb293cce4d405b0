package runtime

import (
	"context"
	"maps"
	"slices"

	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/internal/progress"
	"thalweg/state"
)

// The progress topic has, for each partition of a changelog, the offset up to which the application knows that records
// are missing: where the changelog began when it was taken over, or up to where the application itself has deleted. A
// changelog that begins later was cut by something else. One from which the application deletes always has such a
// record, and others have it only where records are missing.

func startKey(tp kclient.TopicPartition) progress.Key {
	return progress.Key{Kind: progress.Start, Name: tp.Topic, Partition: tp.Partition}
}

// start is the offset up to which the application knows that a changelog lacks records.
func (p *progressTopic) start(tp kclient.TopicPartition, id kclient.Identity) int64 {
	v, ok := p.get(startKey(tp))
	if !ok || !origin.Same(v.TopicID, id.Topics[tp.Topic]) || !origin.Same(v.Cluster, id.Cluster) {
		return 0
	}
	return v.Offset
}

// listStarts lists where a changelog begins that is taken over: what is missing there is known to be.
func (v *inventory) listStarts(ctx context.Context, f filling) error {
	if f.from != state.FromChangelog {
		return nil
	}
	id := v.identity.Topics[f.topic]
	was, listed := v.listed(f.topic)
	listed = listed && was.TopicID == id && was.Cluster == v.identity.Cluster
	unlisted := func(tp kclient.TopicPartition) bool {
		start, ok := v.noted.get(startKey(tp))
		return !ok || start.TopicID != id || start.Cluster != v.identity.Cluster
	}
	if listed && !(f.purged() && slices.ContainsFunc(partitionsOf(f.topic, v.lay.partitions[f.sub]), unlisted)) {
		return nil
	}
	first, _, err := v.bounds(ctx, f.topic, v.lay.partitions[f.sub])
	for tp, at := range first {
		if !unlisted(tp) || at == 0 && !f.purged() {
			continue
		}
		v.changes[startKey(tp)] = &progress.Value{TopicID: id, Cluster: v.identity.Cluster, Offset: at}
		if listed && at > 0 {
			v.cfg.Logger.Warn("a changelog lacks records, and the application has not noted that it deleted them, as an older "+
				"build does not: they are taken for expired", "application", v.cfg.ApplicationID, "store", f.name, "topic",
				tp.Topic, "partition", tp.Partition, "start", at)
		}
	}
	return err
}

func partitionsOf(topic string, n int32) (tps []kclient.TopicPartition) {
	for p := range n {
		tps = append(tps, kclient.TopicPartition{Topic: topic, Partition: p})
	}
	return tps
}

// raiseStarts notes up to where the application is about to delete from changelogs. It comes before the deletion, so
// that no other process takes the deletion for a cut. Two processes may both have had the task, and write at the same
// time: the last one to write reads what the other wrote, and writes again what is higher.
func (p *progressTopic) raiseStarts(ctx context.Context, due map[kclient.TopicPartition]int64) error {
	if len(due) == 0 {
		return nil
	}
	topics := map[string]bool{}
	for tp := range due {
		topics[tp.Topic] = true
	}
	id, err := p.client.Topics().Identify(ctx, sortedKeys(topics)...)
	if err != nil {
		return err
	}
	for {
		if err := p.refresh(ctx); err != nil {
			return err
		}
		changes := map[progress.Key]*progress.Value{}
		for tp, offset := range due {
			changes[startKey(tp)] = &progress.Value{
				TopicID: id.Topics[tp.Topic], Cluster: id.Cluster, Offset: max(offset, p.start(tp, id)),
			}
		}
		if n, err := p.writeChanges(ctx, changes); n == 0 || err != nil {
			return err
		}
	}
}

// askCuts looks for changelogs that lack records of which the application does not know. For those that the application
// deletes from it returns the settings, by topic, under which the broker does so too.
func (p *progressTopic) askCuts(
	ctx context.Context, c *kclient.Client, lay *layout, first map[kclient.TopicPartition]int64, id kclient.Identity,
) (map[string]string, error) {
	cut := func() []kclient.TopicPartition {
		return slices.DeleteFunc(slices.Collect(maps.Keys(first)), func(tp kclient.TopicPartition) bool {
			return lay.storeOf(tp.Topic) == "" || first[tp] <= p.start(tp, id)
		})
	}
	if len(cut()) == 0 {
		return nil, nil
	}
	// The process that had the task before may have deleted and noted it since this one has read the progress topic.
	if err := p.refresh(ctx); err != nil {
		return nil, err
	}
	var topics []string
	for _, tp := range cut() {
		if lay.purged(tp.Topic) && !slices.Contains(topics, tp.Topic) {
			topics = append(topics, tp.Topic)
		}
	}
	limits, err := c.Topics().RetentionLimits(ctx, topics...)
	if err != nil {
		return nil, err
	}
	expires := map[string]string{}
	for _, topic := range topics {
		limit, told := limits[topic]
		if !told {
			limit = "its retention.ms is not known: allow the application to describe the topic"
		}
		expires[topic] = limit
	}
	return expires, nil
}

// purged tells that the application deletes from a changelog.
func (l *layout) purged(topic string) bool {
	return slices.ContainsFunc(l.fillings, func(f filling) bool { return f.topic == topic && f.purged() })
}
