package runtime

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"thalweg/internal/kclient"
	"thalweg/topology"
)

// Topics change while an application runs: partitions are added, or a topic is recreated with another number of them.
// The group's leader hands out partitions that were added. A process that is given one works out its layout again, if
// all that is kept by partition can stay where it is; otherwise the application stops.

// layout is what follows from the topology and the partition counts of the inputs, as they were last seen.
func (a *app) layout() *layout { return a.shape.Load() }

// adopt takes partitions over that the group has assigned, and of which the layout does not know.
func (a *app) adopt(ctx context.Context, tps []kclient.TopicPartition) error {
	a.growing.Lock()
	defer a.growing.Unlock()
	old := a.layout()
	for _, tp := range tps {
		if _, read := old.counts[tp.Topic]; !read {
			return fmt.Errorf("the group has assigned %s, and no source of this program reads that topic: another topology "+
				"runs under the application id %s: choose another Config.ApplicationID for one of the two, or stop all "+
				"processes of the old program first", tp, a.cfg.ApplicationID)
		}
	}
	if !slices.ContainsFunc(tps, func(tp kclient.TopicPartition) bool { return tp.Partition >= old.counts[tp.Topic] }) {
		return nil
	}
	inputs, _ := externals(a.topo)
	ctx, cancel := a.untilStop(ctx)
	defer cancel()
	counts, err := a.control.PartitionCounts(ctx, inputs...)
	if err != nil {
		return err
	}
	for _, topic := range inputs { // the broker that answers may lag behind
		counts[topic] = max(counts[topic], old.counts[topic], old.globals[topic])
	}
	for _, tp := range tps {
		if _, external := counts[tp.Topic]; external {
			counts[tp.Topic] = max(counts[tp.Topic], tp.Partition+1)
		}
	}
	next, err := newLayout(a.topo, a.cfg, counts)
	if err != nil {
		return err
	}
	if err := old.growsTo(next, a.topo); err != nil {
		return err
	}
	for _, tp := range tps {
		if n := next.counts[tp.Topic]; tp.Partition >= n {
			return ofKind(ErrTopicShape,
				fmt.Errorf("topics: internal topic %s has a partition %d, and the topology needs %d partitions: something "+
					"else has added to it. Delete and recreate it with %d while no process runs", tp.Topic, tp.Partition, n, n))
		}
	}
	a.cfg.Logger.Info("inputs have more partitions: their tasks begin", "application", a.cfg.ApplicationID, "was",
		old.counts, "now", next.counts)
	a.shape.Store(next)
	return nil
}

// growsTo refuses a layout in which keys would be in other partitions than what is kept of them.
func (l *layout) growsTo(next *layout, topo *topology.Topology) error {
	var grown, kept []string
	were := int32(0)
	for _, name := range l.topics() {
		if n := next.counts[name]; n != l.counts[name] && !l.repartitions[name] {
			grown = append(grown, fmt.Sprintf("topic %s has %d partitions, and had %d when the application started", name, n,
				l.counts[name]))
		}
	}
	for _, s := range topo.Subtopologies() {
		if l.partitions[s.ID] == next.partitions[s.ID] {
			continue
		}
		for _, t := range s.Inputs {
			if name := t.In(l.applicationID); t.Repartition && l.counts[name] != next.counts[name] {
				kept, were = append(kept, "topic "+name), l.counts[name]
			}
		}
		for _, st := range s.Stores {
			kept, were = append(kept, "store "+st.Name()), l.partitions[s.ID]
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return ofKind(ErrTopicShape,
		fmt.Errorf("topics: %s. What is in %s lies in %d partitions by key, and a key may be in another one from now "+
			"on. To go on, stop all processes, and reset application %s or choose another Config.ApplicationID",
			strings.Join(grown, ", "), strings.Join(kept, ", "), were, l.applicationID))
}

// isInternal tells whether the application has made a topic for itself.
func (l *layout) isInternal(topic string) bool {
	return slices.ContainsFunc(l.internal, func(s kclient.TopicSpec) bool { return s.Name == topic })
}
