package runtime

import (
	"slices"
	"strings"

	"thalweg/state"
	"thalweg/topology"
)

// filling is what fills a store of tasks.
type filling struct {
	name    string
	spec    state.Spec
	formats state.Formats
	from    state.Filling
	topic   string // durable name; empty: none
	sub     int    // the sub-topology that keeps it
}

func fillingOf(st state.Store, sub int, from state.Filling) filling {
	return filling{name: st.Name(), spec: st.Spec(), formats: state.FormatsOf(st), sub: sub, from: from}
}

// purged tells that the application deletes from the store's changelog what the store has given up.
func (f filling) purged() bool {
	return f.from == state.FromChangelog && strings.Contains(f.spec.TopicConfig(nil)["cleanup.policy"], "delete")
}

// fillings are what fills the stores of a topology's tasks, those among them that a rule of the optimizer has left out.
func fillings(topo *topology.Topology, applicationID string) (all []filling) {
	for i, s := range topo.Subtopologies() {
		for _, st := range s.Stores {
			f := fillingOf(st, i, state.FromChangelog)
			switch source, ok := s.RestoredFrom(f.name); {
			case ok:
				f.from, f.topic = state.FromInput, source.Topics[0].In(applicationID)
			case f.spec.Volatile:
				f.from = state.FromNothing
			default:
				f.topic = f.spec.ChangelogTopic(applicationID)
			}
			all = append(all, f)
		}
		for _, n := range s.Nodes {
			for _, st := range n.LeftOut {
				if !slices.ContainsFunc(all, func(f filling) bool { return f.name == st.Name() }) {
					all = append(all, fillingOf(st, i, state.FromOther))
				}
			}
		}
	}
	return all
}

// storeOf is the store whose changelog a topic is; empty: it is none.
func (l *layout) storeOf(topic string) string {
	for _, f := range l.fillings {
		if f.from == state.FromChangelog && f.topic == topic {
			return f.name
		}
	}
	return ""
}

// forms say what is in each repartition topic, and what else it is read for: by durable name. A topic whose form
// changes holds records that the new topology would not understand, or not process.
func forms(topo *topology.Topology, applicationID string) map[string]string {
	form := map[string]string{}
	for _, n := range topo.Nodes() {
		if n.Kind == topology.KindSink && n.Sink.Repartition {
			form[n.Sink.In(applicationID)] = "records"
			if n.Combined != nil {
				form[n.Sink.In(applicationID)] = "partial counts"
			}
		}
	}
	for _, n := range topo.Nodes() {
		if n.Kind == topology.KindSource && len(n.Serves) > 0 {
			form[n.Topics[0].In(applicationID)] += ", read for " + strings.Join(n.Serves, ", ") + ", too"
		}
	}
	return form
}
