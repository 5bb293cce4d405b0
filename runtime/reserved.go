package runtime

import (
	"errors"
	"fmt"

	"thalweg/internal/progress"
	"thalweg/state"
	"thalweg/topology"
)

// reserved are the topics that the application keeps for itself, by durable name, each with what it is. Records of
// others there would be taken for rows, and its own would be read twice.
func reserved(topo *topology.Topology, applicationID string) map[string]string {
	names := map[string]string{
		progress.TopicName(applicationID): "the topic in which the application lists what it has",
	}
	for _, f := range fillings(topo, applicationID) {
		if f.from == state.FromChangelog {
			names[f.topic] = fmt.Sprintf("the changelog of store %q", f.name)
		}
	}
	for _, n := range topo.Nodes() {
		if n.Kind == topology.KindSink && n.Sink.Repartition {
			names[n.Sink.In(applicationID)] = fmt.Sprintf("the topic of repartition %q", n.Sink.Name)
		}
	}
	return names
}

// checkReserved refuses inputs, outputs and dead letters that have the name of a topic which the application keeps for
// itself.
func checkReserved(topo *topology.Topology, cfg Config, names map[string]string) error {
	var errs []error
	refuse := func(who, does, topic string) {
		if what, ok := names[topic]; ok {
			errs = append(errs, fmt.Errorf("%s %s topic %q, which is %s in application %q: give one of them another name", who,
				does, topic, what, cfg.ApplicationID))
		}
	}
	for _, n := range topo.Nodes() {
		who := fmt.Sprintf("node %q (%s)", n.Name, n.Site)
		for _, t := range n.Topics {
			if !t.Repartition {
				refuse(who, "reads", t.Name)
			}
		}
		if n.Kind == topology.KindSink && !n.Sink.Repartition {
			refuse(who, "writes", n.Sink.Name)
		}
	}
	refuse("Config.Errors.DeadLetters", "names", cfg.Errors.DeadLetters)
	for _, name := range sortedKeys(names) {
		if err := topology.CheckTopicName(name); err != nil {
			errs = append(errs, fmt.Errorf("%s of application %q: %w: give one of them a shorter name", names[name],
				cfg.ApplicationID, err))
		}
	}
	return errors.Join(errs...)
}

// mayName returns an error where a record names, as its destination, a topic that the application keeps for itself.
func (a *app) mayName(topic string) error {
	if what, ok := a.reserved[topic]; ok {
		return fmt.Errorf("the record names topic %q, which is %s", topic, what)
	}
	return nil
}
