package runtime

import (
	"context"

	"thalweg/internal/kclient"
	"thalweg/internal/task"
	"thalweg/state"
)

// batches are on their way from an outbox to the broker.
type batches struct {
	items   []kclient.Item
	outputs int // how many of them go first; the rest follows when these are acknowledged
}

// takes replaces them.
func (b *batches) takes(packets []*task.Packet) {
	b.items, b.outputs = b.items[:0], 0
	for _, p := range packets {
		tp := kclient.TopicPartition{Topic: p.Topic, Partition: p.Partition}
		b.items = append(b.items, kclient.Item{TopicPartition: tp, Builder: p.Builder})
		if !p.Last {
			b.outputs++
		}
	}
}

// produce queues them. Those that come last wait until the broker has acknowledged all others, and what was queued
// before.
func (b *batches) produce(ctx context.Context, client *kclient.Client) error {
	if err := client.Produce(ctx, b.items[:b.outputs]); err != nil || b.outputs == len(b.items) {
		return err
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	return client.Produce(ctx, b.items[b.outputs:])
}

// changelogsLast says which topics are written when everything else is acknowledged. In a transaction there are none.
// Outside of one a broker may lose power, or the application end, between any two batches. A changelog must not be
// ahead then of the outputs that were written beside it: a store that is restored from it would not bring them out
// again. It may be behind: what is not committed is processed once more.
func (l *layout) changelogsLast(g Guarantee) func(topic string) bool {
	if g == ExactlyOnce {
		return nil
	}
	changelogs := map[string]bool{}
	for _, f := range l.fillings {
		if f.topic != "" && f.from == state.FromChangelog {
			changelogs[f.topic] = true
		}
	}
	return func(topic string) bool { return changelogs[topic] }
}
