package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/link"
	"thalweg/topology"
)

// topicPoll is the time between two looks for topics that are missing.
const topicPoll = 200 * time.Millisecond

// setup makes sure that all topics are there and as they must be, and returns what follows from them.
func setup(ctx context.Context, l *link.Link, topo *topology.Topology, cfg Config) (*layout, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()
	inputs, outputs := externals(topo)
	if cfg.Errors.DeadLetters != "" && !slices.Contains(outputs, cfg.Errors.DeadLetters) {
		outputs = append(outputs, cfg.Errors.DeadLetters)
	}
	counts, err := awaitTopics(ctx, l, cfg, inputs, outputs)
	if err != nil {
		return nil, err
	}
	lay, err := newLayout(topo, cfg, counts)
	if err != nil {
		return nil, err
	}
	if err := l.EnsureTopics(ctx, lay.internal); err != nil {
		return nil, fmt.Errorf("topics: %w", err)
	}
	return lay, nil
}

// awaitTopics waits until the topics that others make are there, and returns the partition counts of the inputs.
func awaitTopics(
	ctx context.Context, l *link.Link, cfg Config, inputs, outputs []string,
) (map[string]int32, error) {
	names := append(slices.Clone(inputs), outputs...)
	logged := false
	for {
		details, err := l.ListTopics(ctx, names...)
		if err != nil {
			return nil, fmt.Errorf("topics: %w", err)
		}
		var missing []string
		counts := map[string]int32{}
		for _, name := range names {
			d, ok := details[name]
			switch {
			case !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition) || (d.Err == nil && len(d.Partitions) == 0):
				if !slices.Contains(missing, name) {
					missing = append(missing, name)
				}
			case d.Err != nil && !kerr.IsRetriable(d.Err):
				return nil, fmt.Errorf("topics: %q: %w", name, d.Err)
			case d.Err == nil && slices.Contains(inputs, name):
				counts[name] = int32(len(d.Partitions))
			}
		}
		if len(missing) == 0 && len(counts) == len(inputs) {
			return counts, nil
		}
		if !logged && len(missing) > 0 {
			cfg.Logger.Warn("waiting for topics that do not exist yet", "topics", missing, "for", cfg.StartTimeout)
			logged = true
		}
		select {
		case <-time.After(topicPoll):
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, context.Cause(ctx)
			}
			return nil, fmt.Errorf("topics: no topic %s on the broker (waited %v): create it, or check the name",
				quoted(missing), cfg.StartTimeout)
		}
	}
}

func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(q, ", ")
}
