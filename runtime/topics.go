package runtime

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"thalweg/internal/align"
	"thalweg/internal/kclient"
	"thalweg/state"
	"thalweg/topology"
)

// TaskID names a task: a sub-topology on one partition.
type TaskID struct {
	Subtopology int
	Partition   int32
}

func (id TaskID) String() string { return fmt.Sprintf("%d_%d", id.Subtopology, id.Partition) }

// layout is what follows from a topology and the partition counts of its inputs. It is pure data.
type layout struct {
	applicationID string
	partitions    []int32              // of tasks, per sub-topology
	counts        map[string]int32     // of every input that tasks read, by durable name
	globals       map[string]int32     // of every topic that fills a global store
	internal      []kclient.TopicSpec  // to be there before the first task
	repartitions  map[string]bool      // durable names
	resets        map[string]resetting // of inputs, by durable name
	fillings      []filling            // what fills the stores of tasks
	forms         map[string]string    // what is in the repartition topics, by durable name
	aligned       *align.Plan          // nil: nothing is to be aligned
}

// resetting is where an input starts that has no committed offset, and the node that says so.
type resetting struct {
	topology.Reset
	node, site string
}

// externals are the topics that others make: inputs, and outputs that have a fixed name.
func externals(topo *topology.Topology) (inputs, outputs []string) {
	for _, s := range slices.Concat(topo.Subtopologies(), topo.Globals()) {
		for _, t := range s.Inputs {
			if !t.Repartition && !slices.Contains(inputs, t.Name) {
				inputs = append(inputs, t.Name)
			}
		}
		for _, t := range s.Outputs {
			if !t.Repartition && !slices.Contains(outputs, t.Name) {
				outputs = append(outputs, t.Name)
			}
		}
	}
	return inputs, outputs
}

// newLayout works out the tasks and internal topics. counts holds the external inputs.
func newLayout(topo *topology.Topology, cfg Config, counts map[string]int32) (*layout, error) {
	l := &layout{
		applicationID: cfg.ApplicationID,
		counts:        map[string]int32{},
		globals:       map[string]int32{},
		repartitions:  map[string]bool{},
		resets:        map[string]resetting{},
	}
	for _, s := range topo.Subtopologies() {
		for _, t := range s.Inputs {
			if n, ok := counts[t.Name]; ok && !t.Repartition {
				l.counts[t.Name] = n
			}
		}
	}
	for _, s := range topo.Globals() {
		for _, t := range s.Inputs {
			l.globals[t.Name] = counts[t.Name]
		}
	}
	if err := l.count(topo); err != nil {
		return nil, err
	}
	for _, s := range topo.Subtopologies() {
		tasks := s.Tasks(l.applicationID, func(topic string) int32 { return l.counts[topic] })
		l.partitions = append(l.partitions, tasks)
	}
	if !cfg.Alignment.Off {
		l.aligned = align.New(topo.Subtopologies(), l.applicationID, func(topic string) int32 { return l.counts[topic] })
	}
	l.fillings, l.forms = fillings(topo, l.applicationID), forms(topo, l.applicationID)
	l.addRepartitions(topo, cfg)
	l.addChangelogs(cfg)
	for _, n := range topo.Nodes() {
		for _, t := range n.Topics {
			l.resets[t.In(l.applicationID)] = resetting{n.Reset, n.Name, n.Site}
		}
	}
	return l, nil
}

// count finds the partition counts of repartition topics. One that is read side by side with a topic of others has
// that topic's count; all others have the largest count of what is upstream of them, or beside them.
func (l *layout) count(topo *topology.Topology) error {
	fixed := l.fix(topo)
	subs := topo.Subtopologies()
	for range len(topo.Nodes()) + 1 { // each round settles at least one more topic, or nothing changes
		changed := false
		raise := func(name string, n int32) {
			if !fixed[name] && l.counts[name] < n {
				l.counts[name], changed = n, true
			}
		}
		for _, s := range subs {
			n := int32(0)
			for _, t := range s.Inputs {
				n = max(n, l.counts[t.In(l.applicationID)])
			}
			for _, t := range s.Outputs {
				if t.Repartition {
					raise(t.In(l.applicationID), n)
				}
			}
			for _, set := range s.Copartitioned {
				n := int32(0)
				for _, t := range set {
					n = max(n, l.counts[t.In(l.applicationID)])
				}
				for _, t := range set {
					raise(t.In(l.applicationID), n)
				}
			}
		}
		if !changed {
			break
		}
	}
	var errs []error
	for _, s := range subs {
		for _, t := range s.Inputs {
			if l.counts[t.In(l.applicationID)] == 0 {
				errs = append(errs, fmt.Errorf("topics: nothing upstream of %q says how many partitions it has",
					t.In(l.applicationID)))
			}
		}
		errs = append(errs, l.copartitioned(s))
	}
	return errors.Join(errs...)
}

// fix sets the count of repartition topics that the user chose, or that must equal such a count or an external topic's.
func (l *layout) fix(topo *topology.Topology) map[string]bool {
	fixed := map[string]bool{}
	for name := range l.counts {
		fixed[name] = true
	}
	for _, s := range topo.Subtopologies() {
		for _, t := range s.Inputs {
			if t.Repartition && t.Partitions > 0 {
				fixed[t.In(l.applicationID)], l.counts[t.In(l.applicationID)] = true, t.Partitions
			}
		}
	}
	for range len(topo.Nodes()) + 1 {
		changed := false
		for _, s := range topo.Subtopologies() {
			for _, set := range s.Copartitioned {
				n := int32(0)
				for _, t := range set {
					if name := t.In(l.applicationID); fixed[name] {
						n = l.counts[name]
					}
				}
				for _, t := range set {
					if name := t.In(l.applicationID); n > 0 && !fixed[name] {
						fixed[name], l.counts[name], changed = true, n, true
					}
				}
			}
		}
		if !changed {
			break
		}
	}
	return fixed
}

// copartitioned checks that topics which are read by key together have equal counts.
func (l *layout) copartitioned(s *topology.Subtopology) error {
	var errs []error
	for _, set := range s.Copartitioned {
		var list []string
		differ := false
		for _, t := range set {
			name := t.In(l.applicationID)
			differ = differ || l.counts[name] != l.counts[set[0].In(l.applicationID)]
			list = append(list, fmt.Sprintf("%s (%d)", name, l.counts[name]))
		}
		if differ {
			errs = append(errs, ofKind(ErrTopicShape,
				fmt.Errorf("topics: sub-topology %d reads %s together by key, so their partition "+
					"counts must be equal: repartition one of the streams, or make the topics alike",
					s.ID, strings.Join(list, ", "))))
		}
	}
	return errors.Join(errs...)
}

// repartitionSegmentBytes keeps segments small, since processed records are deleted by whole segments.
const repartitionSegmentBytes = 50 << 20

func (l *layout) addRepartitions(topo *topology.Topology, cfg Config) {
	for _, s := range topo.Subtopologies() {
		for _, t := range s.Inputs {
			name := t.In(l.applicationID)
			if !t.Repartition || l.repartitions[name] {
				continue
			}
			l.repartitions[name] = true
			config := map[string]string{"segment.bytes": strconv.Itoa(repartitionSegmentBytes)}
			maps.Copy(config, cfg.Topics.Config)
			// What is not yet processed must never expire, and each record is one.
			config["cleanup.policy"], config["retention.ms"], config["retention.bytes"] = "delete", "-1", "-1"
			maps.Copy(config, state.EventTime())
			l.internal = append(l.internal, kclient.TopicSpec{
				Name: name, Partitions: l.counts[name], Replicas: cfg.Topics.ReplicationFactor, Config: config,
			})
		}
	}
}

func (l *layout) addChangelogs(cfg Config) {
	for _, f := range l.fillings {
		if f.from == state.FromChangelog {
			l.internal = append(l.internal, kclient.TopicSpec{
				Name:       f.topic,
				Partitions: l.partitions[f.sub],
				Replicas:   cfg.Topics.ReplicationFactor,
				Config:     f.spec.TopicConfig(cfg.Topics.Config),
			})
		}
	}
}

// inputsOf are the partitions that a task reads.
func inputsOf(a *app, id TaskID) []kclient.TopicPartition {
	return a.layout().inputs(a.topo.Subtopologies()[id.Subtopology], id.Partition)
}

func (l *layout) inputs(s *topology.Subtopology, partition int32) []kclient.TopicPartition {
	var tps []kclient.TopicPartition
	for _, t := range s.Inputs {
		if name := t.In(l.applicationID); partition < l.counts[name] {
			tps = append(tps, kclient.TopicPartition{Topic: name, Partition: partition})
		}
	}
	return tps
}

// exists tells whether an input has a partition.
func (l *layout) exists(topic string, partition int32) bool { return partition < l.counts[topic] }

// filled is how many partitions of a store are filled: an input may have fewer than there are tasks.
func (l *layout) filled(f filling) int32 {
	if f.from == state.FromInput {
		return min(l.partitions[f.sub], l.counts[f.topic])
	}
	return l.partitions[f.sub]
}

// topics are all inputs.
func (l *layout) topics() []string { return sortedKeys(l.counts) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
