package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/state"
	"thalweg/topology"
)

// topicPoll is the time between two looks for topics that are missing.
const topicPoll = 200 * time.Millisecond

// setup makes sure that all topics are there and as they must be, and that they are those that the application had
// before. It returns what follows from them, and the application's progress topic.
func setup(
	ctx context.Context, c *kclient.Client, topo *topology.Topology, h *home, cfg Config,
) (*layout, *progressTopic, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()
	inputs, outputs := externals(topo)
	if cfg.Errors.DeadLetters != "" && !slices.Contains(outputs, cfg.Errors.DeadLetters) {
		outputs = append(outputs, cfg.Errors.DeadLetters)
	}
	counts, err := awaitTopics(ctx, c, topo, cfg, inputs, outputs)
	if err != nil {
		return nil, nil, err
	}
	lay, err := newLayout(topo, cfg, counts)
	if err != nil {
		return nil, nil, err
	}
	policies, err := warnOfRetention(ctx, c, lay, cfg)
	if err != nil {
		return nil, nil, err
	}
	var noted *progressTopic
	var v *inventory
	for again := true; ; again = false {
		if noted, err = openProgress(ctx, c, cfg); err != nil {
			return nil, nil, fmt.Errorf("topics: %w", err)
		}
		if v, err = takeInventory(ctx, c, lay, noted, h, cfg); err == nil {
			break
		}
		// Another process of the application may have listed what it made since the topic was read.
		if _, refused := errors.AsType[*origin.Refusal](err); !refused || !again {
			return nil, nil, err
		}
	}
	v.policies = policies
	err = c.Topics().Ensure(ctx, lay.internal)
	if err == nil {
		err = v.list(ctx)
	}
	if err != nil {
		err = fmt.Errorf("topics: %w", err)
		if _, ok := errors.AsType[*kclient.PartitionsError](err); ok {
			err = ofKind(ErrTopicShape, err)
		}
		return nil, nil, v.retract(ctx, err)
	}
	return lay, noted, nil
}

// awaitTopics returns the partition counts of the inputs. It makes the topics that are missing, or waits until others
// have made them.
func awaitTopics(
	ctx context.Context, c *kclient.Client, topo *topology.Topology, cfg Config, inputs, outputs []string,
) (map[string]int32, error) {
	names := append(slices.Clone(inputs), outputs...)
	makes := cfg.Broker != nil || cfg.Topics.CreateOnCluster
	var missing []string
	var counts map[string]int32 // nil before the first look
	for first := true; ; {
		absent, there, err := lookForTopics(ctx, c, names)
		if err == nil {
			missing, counts = absent, there
		} else if counts == nil || ctx.Err() == nil { // where the time ends during a look, the one before says why
			return nil, err
		}
		maps.DeleteFunc(counts, func(name string, _ int32) bool { return !slices.Contains(inputs, name) })
		if len(missing) == 0 && len(counts) == len(inputs) {
			return counts, nil
		}
		if specs := missingTopics(topo, cfg, counts, missing); first && len(missing) > 0 {
			first = false
			if makes {
				if err := makeTopics(ctx, c, cfg, specs); err != nil {
					return nil, err
				}
				missing = nil
				continue // somebody else may have been faster, with other counts
			}
			cfg.Logger.Warn("waiting for topics that do not exist yet", "topics", missing, "for", cfg.StartTimeout,
				"command", commands(cfg, specs))
		}
		select {
		case <-time.After(topicPoll):
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, context.Cause(ctx)
			}
			if len(missing) == 0 {
				return nil, ofKind(ErrUnreachable,
					fmt.Errorf("topics: the broker has not named the leaders of all partitions within %v: "+
						"is the cluster healthy?", cfg.StartTimeout))
			}
			return nil, ofKind(ErrTopicMissing,
				fmt.Errorf("topics: no topic %s on the broker (waited %v): check the names, or create what is "+
					"missing: %s", quoted(missing), cfg.StartTimeout, commands(cfg, missingTopics(topo, cfg, counts, missing))))
		}
	}
}

// lookForTopics returns which topics are missing, and the partition counts of those that are there. A topic that is
// being made is neither.
func lookForTopics(ctx context.Context, c *kclient.Client, names []string) (
	missing []string, counts map[string]int32, err error,
) {
	details, err := c.Topics().List(ctx, names...)
	if err != nil {
		return nil, nil, fmt.Errorf("topics: %w", err)
	}
	counts = map[string]int32{}
	for _, name := range names {
		d, ok := details[name]
		switch {
		case !ok || errors.Is(d.Err, kerr.UnknownTopicOrPartition) || (d.Err == nil && len(d.Partitions) == 0):
			if !slices.Contains(missing, name) {
				missing = append(missing, name)
			}
		case d.Err != nil && !kerr.IsRetriable(d.Err):
			return nil, nil, fmt.Errorf("topics: %q: %w", name, d.Err)
		case d.Err == nil:
			counts[name] = int32(len(d.Partitions))
		}
	}
	return missing, counts, nil
}

// missingTopics gives each missing topic its partition count: that of what it is read with by key, where that is there
// or the program says it, or the configuration's. there are the counts of the inputs that exist.
func missingTopics(topo *topology.Topology, cfg Config, there map[string]int32, missing []string) []kclient.TopicSpec {
	l := &layout{applicationID: cfg.ApplicationID, counts: maps.Clone(there)}
	if l.counts == nil {
		l.counts = map[string]int32{}
	}
	reused := reusedInputs(fillings(topo, cfg.ApplicationID))
	var specs []kclient.TopicSpec
	for _, name := range missing {
		l.fix(topo) // with the topics before, too
		if l.counts[name] == 0 {
			l.counts[name] = cfg.Topics.Partitions
		}
		config := cfg.Topics.Config
		if slices.Contains(reused, name) {
			config = maps.Clone(config)
			if config == nil {
				config = map[string]string{}
			}
			config[cleanupPolicy] = compact
		}
		specs = append(specs, kclient.TopicSpec{
			Name: name, Partitions: l.counts[name], Replicas: cfg.Topics.ReplicationFactor, Config: config,
		})
	}
	return specs
}

const (
	cleanupPolicy = "cleanup.policy"
	compact       = "compact"
)

// reusedInputs are the inputs that tables are restored from (ReuseTopics).
func reusedInputs(fs []filling) (topics []string) {
	for _, f := range fs {
		if f.from == state.FromInput && !slices.Contains(topics, f.topic) {
			topics = append(topics, f.topic)
		}
	}
	return topics
}

// warnOfRetention warns of inputs that lose records which tables are restored from. Only the newest record of a key is
// needed, so a topic must be compacted and nothing else. It returns their policies.
func warnOfRetention(ctx context.Context, c *kclient.Client, lay *layout, cfg Config) (map[string]string, error) {
	policies, err := c.Topics().CleanupPolicies(ctx, reusedInputs(lay.fillings)...)
	if err != nil {
		return nil, fmt.Errorf("topics: %w", err)
	}
	for _, topic := range sortedKeys(policies) {
		if policies[topic] == compact {
			continue
		}
		command := "kafka-configs --alter --entity-type topics --entity-name " + topic +
			" --add-config cleanup.policy=compact"
		if len(cfg.Seeds) > 0 {
			command += " --bootstrap-server " + strings.Join(cfg.Seeds, ",")
		}
		cfg.Logger.Warn("a table is restored from a topic that may delete its newest records, so that a restore lacks "+
			"rows: let the topic be compacted only, or build the topology without ReuseTopics",
			"application", cfg.ApplicationID, "topic", topic, cleanupPolicy, policies[topic], "command", command)
	}
	return policies, nil
}

func makeTopics(ctx context.Context, c *kclient.Client, cfg Config, specs []kclient.TopicSpec) error {
	made, err := c.Topics().Create(ctx, specs)
	if err != nil {
		return fmt.Errorf("topics: %w", err)
	}
	if len(made) > 0 {
		list := make([]string, len(made))
		for i, spec := range made {
			list[i] = fmt.Sprintf("%s (%d partitions)", spec.Name, spec.Partitions)
		}
		cfg.Logger.Info("made topics that were missing", "application", cfg.ApplicationID, "topics", list)
	}
	return nil
}

// commands are the command lines that make topics.
func commands(cfg Config, specs []kclient.TopicSpec) string {
	byFlags := map[string][]string{}
	for _, spec := range specs {
		flags := fmt.Sprintf("-p %d", spec.Partitions)
		if spec.Config[cleanupPolicy] == compact {
			flags += " -config cleanup.policy=compact"
		}
		byFlags[flags] = append(byFlags[flags], spec.Name)
	}
	var lines []string
	for _, flags := range sortedKeys(byFlags) {
		line := fmt.Sprintf("thalweg topics create %s %s", strings.Join(byFlags[flags], " "), flags)
		if cfg.Topics.ReplicationFactor > 0 {
			line += fmt.Sprintf(" -replicas %d", cfg.Topics.ReplicationFactor)
		}
		if len(cfg.Seeds) > 0 {
			line += " -brokers " + strings.Join(cfg.Seeds, ",")
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, " && ")
}

func quoted(names []string) string {
	q := make([]string, len(names))
	for i, n := range names {
		q[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(q, ", ")
}
