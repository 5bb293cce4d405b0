package runtime

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/internal/progress"
	"thalweg/state"
)

// progressTopic is the application's progress topic, and what it said when this process started, with what this process
// has written since. Any goroutine may use it.
type progressTopic struct {
	client *kclient.Client
	cfg    Config
	topic  string
	fresh  bool // nothing was known when it was opened

	absent []string // stores that are listed and that the topology leaves out

	mu      sync.Mutex
	known   map[progress.Key]progress.Value
	lowered map[progress.Key]bool // the last record takes something back that an earlier one says
}

// openProgress makes the topic where it is missing, and reads it.
func openProgress(ctx context.Context, c *kclient.Client, cfg Config) (*progressTopic, error) {
	p := &progressTopic{client: c, cfg: cfg, topic: progress.TopicName(cfg.ApplicationID)}
	config := state.EventTime() // any clock
	config["cleanup.policy"] = "compact"
	err := c.Topics().Ensure(ctx, []kclient.TopicSpec{{
		Name: p.topic, Partitions: 1, Replicas: cfg.Topics.ReplicationFactor,
		Config: config,
		Most: map[string]string{
			segmentBytesSetting: progressSegmentBytes, deleteRetentionMSSetting: progressDeleteRetention,
		},
	}})
	if err == nil {
		p.known, p.lowered, err = readProgress(ctx, c, p.topic, cfg)
	}
	if err != nil {
		return nil, err
	}
	p.fresh = len(p.known) == 0
	return p, nil
}

// readProgress reads an application's progress topic. What something else has written there is passed over. A record
// that takes something back does not count, and lowered says that it was written last: two processes may write about
// the same thing, and one of them may have lost its tasks without knowing it.
func readProgress(ctx context.Context, c *kclient.Client, topic string, cfg Config) (
	known map[progress.Key]progress.Value, lowered map[progress.Key]bool, err error,
) {
	records, err := c.ReadKeyed(ctx, topic)
	if err != nil {
		return nil, nil, err
	}
	known, lowered = map[progress.Key]progress.Value{}, map[progress.Key]bool{}
	for _, r := range records {
		key, err := progress.DecodeKey(r.Key)
		if err == nil && (key.Kind == progress.Time || key.Kind == progress.Processes) {
			continue // see keptTimes, readProcesses
		}
		if err == nil {
			delete(lowered, key)
		}
		if err == nil && len(r.Value) == 0 {
			delete(known, key)
			continue
		}
		var value progress.Value
		if err == nil {
			value, err = progress.DecodeValue(r.Value)
		}
		switch {
		case errors.Is(err, progress.ErrForeign):
			cfg.Logger.Warn("a record of a progress topic is none: passing over it", "topic", topic, "err", err)
		case err != nil:
			return nil, nil, fmt.Errorf("topic %s: %w: run the newest build of the application", topic, err)
		case takesBack(key.Kind, value, known[key]):
			lowered[key] = true
		default:
			known[key] = value
		}
	}
	return known, lowered, nil
}

// takesBack tells whether a record says less than an earlier one about the same topic: that a start lies before where
// it was, or that the first commit of an input is still to come.
func takesBack(kind progress.Kind, v, than progress.Value) bool {
	if !origin.Same(v.TopicID, than.TopicID) || !origin.Same(v.Cluster, than.Cluster) {
		return false
	}
	switch kind {
	case progress.Start:
		return v.Offset < than.Offset
	case progress.Input:
		return than.Committed && !v.Committed
	default:
		return false
	}
}

// refresh reads what other processes have written since.
func (p *progressTopic) refresh(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, lowered, err := readProgress(ctx, p.client, p.topic, p.cfg)
	if err == nil {
		p.known, p.lowered = known, lowered
	}
	return err
}

// get returns what is known under a key.
func (p *progressTopic) get(k progress.Key) (progress.Value, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.known[k]
	return v, ok
}

// isLowered tells that the last record of a key takes something back, and is to be written again.
func (p *progressTopic) isLowered(k progress.Key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lowered[k]
}

// all returns the keys of a kind, in order.
func (p *progressTopic) all(kind progress.Kind) (keys []progress.Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k := range p.known {
		if k.Kind == kind {
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(a, b progress.Key) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(a.Partition, b.Partition))
	})
	return keys
}

// write writes what differs from what is known, and returns when it is safe. A nil value takes a record back.
func (p *progressTopic) write(ctx context.Context, changes map[progress.Key]*progress.Value) error {
	_, err := p.writeChanges(ctx, changes)
	return err
}

// writeChanges is write. It returns how many records there were to be written.
func (p *progressTopic) writeChanges(ctx context.Context, changes map[progress.Key]*progress.Value) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var records []kclient.KeyValue
	next := maps.Clone(p.known)
	for k, v := range changes {
		old, ok := p.known[k]
		switch {
		case v == nil && ok:
			delete(next, k)
			records = append(records, kclient.KeyValue{Key: progress.AppendKey(nil, k)})
		case v != nil && (!ok || old != *v || p.lowered[k]):
			next[k] = *v
			records = append(records, kclient.KeyValue{
				Key: progress.AppendKey(nil, k), Value: progress.AppendValue(nil, *v),
			})
		}
	}
	if err := p.client.WriteKeyed(ctx, p.topic, records, p.cfg.Clock()); err != nil {
		return 0, fmt.Errorf("topic %s: %w", p.topic, err)
	}
	p.known = next
	for k := range changes {
		delete(p.lowered, k)
	}
	return len(records), nil
}

func internalTopic(name string) progress.Key {
	return progress.Key{Kind: progress.InternalTopic, Name: name, Partition: -1}
}

func storeKey(name string) progress.Key {
	return progress.Key{Kind: progress.Store, Name: name, Partition: -1}
}

func inputKey(tp kclient.TopicPartition) progress.Key {
	return progress.Key{Kind: progress.Input, Name: tp.Topic, Partition: tp.Partition}
}
