package runtime

import (
	"context"
	"maps"
	"slices"

	"thalweg/internal/batch"
	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/internal/progress"
	"thalweg/state"
	"thalweg/topology"
)

// A store that a program leaves out for a while lacks what is processed meanwhile when it comes back. Its changelog and
// its local copies do not show that. So the progress topic has, for each such store and each partition of an input, the
// offset from which on the input is processed without the store. The note is written before the first task that
// processes the partition without the store, and taken back before the first one that has it again.

func absentKey(store string, tp kclient.TopicPartition) progress.Key {
	return progress.Key{Kind: progress.Absent, Name: store + "\x00" + tp.Topic, Partition: tp.Partition}
}

// keepsRows tells that nothing but processing brings a store's rows up to date.
func keepsRows(from state.Filling) bool {
	return from == state.FromChangelog || from == state.FromNothing
}

// absent are the listed stores that the topology leaves out, as long as they have a changelog.
func (v *inventory) absent() (stores []string) {
	for _, k := range v.noted.all(progress.Store) {
		was, _ := v.noted.get(k)
		_, exists := v.identity.Topics[was.Topic]
		if keepsRows(was.Filling) && (exists || was.Topic == "") &&
			!slices.ContainsFunc(v.lay.fillings, func(f filling) bool { return f.name == k.Name }) {
			stores = append(stores, k.Name)
		}
	}
	return stores
}

// compareAbsent notes which stores the tasks that are about to be opened do without, and looks for stores that earlier
// tasks did without.
func (o *opening) compareAbsent(ctx context.Context) error {
	if err := o.noteAbsent(ctx); err != nil {
		return err
	}
	if len(o.returned()) == 0 {
		return nil
	}
	// The process that had the task before may have taken notes back since this one has read the progress topic.
	if err := o.app.noted.refresh(ctx); err != nil {
		return err
	}
	back := map[progress.Key]*progress.Value{}
	for _, a := range o.returned() {
		if err := o.tellAbsence(ctx, a); err != nil {
			return err
		}
		for _, k := range a.notes {
			back[k] = nil
		}
	}
	return o.app.noted.write(ctx, back)
}

// noteAbsent writes what is not noted yet.
func (o *opening) noteAbsent(ctx context.Context) error {
	missing := func() map[progress.Key]*progress.Value {
		notes := map[progress.Key]*progress.Value{}
		for _, store := range o.app.noted.absent {
			for _, id := range o.ids {
				for _, tp := range o.external(id) {
					note := progress.Value{
						TopicID: o.identity.Topics[tp.Topic], Cluster: o.identity.Cluster, Offset: max(o.starts[tp].Next, 0),
					}
					was, ok := o.app.noted.get(absentKey(store, tp))
					if !ok || !origin.Same(was.TopicID, note.TopicID) || !origin.Same(was.Cluster, note.Cluster) {
						notes[absentKey(store, tp)] = &note
					}
				}
			}
		}
		return notes
	}
	if len(missing()) == 0 {
		return nil
	}
	// The process that had the task before may have noted an earlier offset since this one has read the progress topic.
	if err := o.app.noted.refresh(ctx); err != nil {
		return err
	}
	return o.app.noted.write(ctx, missing())
}

// external are the inputs of a task that others write. What the application itself writes for a store is not there
// while the store is absent.
func (o *opening) external(id TaskID) []kclient.TopicPartition {
	lay := o.app.layout()
	return slices.DeleteFunc(lay.inputs(o.app.topo.Subtopologies()[id.Subtopology], id.Partition),
		func(tp kclient.TopicPartition) bool { return lay.repartitions[tp.Topic] })
}

// absence is a store that is back, and the notes of it for the inputs of the tasks that are about to be opened.
type absence struct {
	filling
	notes  []progress.Key
	missed map[kclient.TopicPartition]origin.Missed
}

func (o *opening) returned() (all []*absence) {
	for _, f := range o.app.layout().fillings {
		a := &absence{filling: f, missed: map[kclient.TopicPartition]origin.Missed{}}
		for _, id := range o.ids {
			for _, tp := range o.external(id) {
				note, ok := o.app.noted.get(absentKey(f.name, tp))
				if !ok {
					continue
				}
				a.notes = append(a.notes, absentKey(f.name, tp))
				if to := o.committed[tp].Next; to > note.Offset && keepsRows(f.from) &&
					origin.Same(note.TopicID, o.identity.Topics[tp.Topic]) && origin.Same(note.Cluster, o.identity.Cluster) &&
					feeds(o.app.topo, tp.Topic, f.sub) {
					a.missed[tp] = origin.Missed{
						Task: id.String(), Topic: tp.Topic, Partition: tp.Partition, From: note.Offset, To: to,
					}
				}
			}
		}
		if len(a.notes) > 0 {
			all = append(all, a)
		}
	}
	return all
}

// feeds tells whether what comes of a topic's records reaches a sub-topology, perhaps over repartition topics.
func feeds(topo *topology.Topology, topic string, sub int) bool {
	subs := topo.Subtopologies()
	seen := map[int]bool{sub: true}
	for next := []int{sub}; len(next) > 0; next = next[1:] {
		for _, in := range subs[next[0]].Inputs {
			if !in.Repartition && in.Name == topic {
				return true
			}
			for i, s := range subs {
				if in.Repartition && !seen[i] && slices.Contains(s.Outputs, in) {
					seen[i], next = true, append(next, i)
				}
			}
		}
	}
	return false
}

// tellAbsence logs what a store lacks.
func (o *opening) tellAbsence(ctx context.Context, a *absence) error {
	if err := o.dropEmpty(ctx, a.missed); err != nil || len(a.missed) == 0 {
		return err
	}
	text := origin.Absence{Place: o.app.home.place(o.app.cfg), Store: a.name, Topic: a.topic}
	for _, id := range o.ids {
		if at, ok := o.last[kclient.TopicPartition{Topic: a.topic, Partition: id.Partition}]; ok && id.Subtopology == a.sub {
			text.Ends = append(text.Ends, origin.End{Task: id.String(), Offset: at})
		}
		for _, tp := range o.external(id) {
			if m, ok := a.missed[tp]; ok && m.Task == id.String() {
				text.Missed = append(text.Missed, m)
			}
		}
	}
	o.log.Warn(text.Text(), "store", a.name)
	return nil
}

// dropEmpty leaves out parts of inputs that have no records, but markers of transactions. Parts that are gone by now
// count as records.
func (o *opening) dropEmpty(ctx context.Context, missed map[kclient.TopicPartition]origin.Missed) error {
	tps := slices.Collect(maps.Keys(missed))
	first, err := o.client.ListOffsets(ctx, tps, kclient.Earliest, false)
	if err != nil {
		return err
	}
	from, to := map[kclient.TopicPartition]int64{}, map[kclient.TopicPartition]int64{}
	empty := map[kclient.TopicPartition]bool{}
	for tp, m := range missed {
		if first[tp] <= m.From {
			from[tp], to[tp], empty[tp] = m.From, m.To, true
		}
	}
	err = o.client.Scan(ctx, from, to, func(tp kclient.TopicPartition, b batch.Batch) (bool, error) {
		if b.BaseOffset() >= to[tp] {
			return true, nil
		}
		if b.IsControl() || b.LastOffset() < from[tp] {
			return false, nil
		}
		delete(empty, tp)
		return true, nil
	})
	for tp := range empty {
		delete(missed, tp)
	}
	return err
}
