package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/internal/progress"
	"thalweg/state"
	"thalweg/topology"
)

// compare looks at what lies on this machine of the tasks that are about to be opened, before anything of it is read. A
// copy that does not fit is dropped. Where one is refused, none is dropped, and the error has all refusals.
func (o *opening) compare(ctx context.Context) error {
	if err := askBounds(ctx, o.app, o.client, o.ids, &o.positions); err != nil {
		return err
	}
	var refusals []*origin.Refusal
	refuse := func(v origin.Verdict) {
		if r, ok := errors.AsType[*origin.Refusal](v.Err()); ok {
			refusals = append(refusals, r)
		}
	}
	settle := map[TaskID][]settlement{}
	filled := map[progress.Key]*progress.Value{}
	for _, id := range o.ids {
		sub := o.app.topo.Subtopologies()[id.Subtopology]
		o.origins[id] = map[string]state.Origin{}
		begun, rows := o.begun(sub, id), false
		for _, f := range o.app.layout().fillingsOf(id) {
			l, v, err := judge(o.app, id, f, &o.positions, begun, o.now)
			if err != nil {
				return err
			}
			rows = rows || f.from != state.FromInput && (l.Saved.Rows || l.End > l.First)
			o.origins[id][f.name] = l.Now
			settle[id] = append(settle[id], settlement{f.name, v})
			refuse(v)
			if !l.Saved.Known || v.Action == origin.Wipe {
				o.app.noted.refill(filled, l, f, &o.positions)
			}
		}
		refuse(o.compareOffsets(sub, id, rows))
	}
	if err := origin.Together(refusals); err != nil {
		return err
	}
	for _, id := range o.ids {
		for _, s := range settle[id] {
			if err := o.settleCopy(id, s); err != nil {
				return err
			}
		}
	}
	return o.app.noted.write(ctx, filled)
}

// fillingsOf are the stores that a task keeps. One whose input does not have the task's partition stays empty.
func (l *layout) fillingsOf(id TaskID) (some []filling) {
	for _, f := range l.fillings {
		if f.sub == id.Subtopology && f.from != state.FromOther && id.Partition < l.filled(f) {
			some = append(some, f)
		}
	}
	return some
}

// askBounds asks what the topics hold that stores are restored from. It comes after the committed offsets: what those
// cover has been written by then.
func askBounds(ctx context.Context, a *app, c *kclient.Client, ids []TaskID, p *positions) (err error) {
	var logs []kclient.TopicPartition
	restored := map[string]bool{}
	for _, id := range ids {
		for _, f := range a.layout().fillingsOf(id) {
			if f.topic != "" {
				logs = append(logs, kclient.TopicPartition{Topic: f.topic, Partition: id.Partition})
				restored[f.topic] = true
			}
		}
	}
	p.origins = map[TaskID]map[string]state.Origin{}
	if len(logs) == 0 {
		return nil
	}
	if a.home.engine != nil {
		if p.retentions, err = c.Topics().DeleteRetentions(ctx, sortedKeys(restored)...); err != nil {
			return err
		}
	}
	if p.first, err = c.ListOffsets(ctx, logs, kclient.Earliest, false); err != nil {
		return err
	}
	if p.last, err = c.ListOffsets(ctx, logs, kclient.Latest, false); err != nil {
		return err
	}
	return p.askGone(ctx, c, a.layout(), a.noted)
}

// askGone asks why records may be missing of what stores are restored from.
func (p *positions) askGone(ctx context.Context, c *kclient.Client, lay *layout, noted *progressTopic) (err error) {
	if p.expires, err = noted.askCuts(ctx, c, lay, p.first, p.identity); err != nil {
		return err
	}
	p.policies, err = noted.askInputs(ctx, c, lay, p.first, p.identity)
	return err
}

// begun tells whether the group has an offset behind the first record of one of a task's inputs.
func (o *opening) begun(sub *topology.Subtopology, id TaskID) bool {
	for _, tp := range o.app.layout().inputs(sub, id.Partition) {
		if o.committed[tp].Next > 0 {
			return true
		}
	}
	return false
}

// judge says what becomes of the copy of a store on this machine. begun tells that the application has processed
// records that will not come again.
func judge(a *app, id TaskID, f filling, p *positions, begun bool, now time.Time) (
	l origin.Local, v origin.Verdict, err error,
) {
	if l, err = localCopy(a, id, f, p); err != nil {
		return l, v, err
	}
	l.Begun = begun
	l.Old = l.Saved.Known && l.Saved.Offset < p.last[kclient.TopicPartition{Topic: f.topic, Partition: id.Partition}] &&
		outdated(l.Saved.Synced, now, a.layout().deleteRetention(f.topic, p.retentions))
	return l, origin.CompareLocal(l), nil
}

// localCopy describes a store: its copy on this machine, and its topic.
func localCopy(a *app, id TaskID, f filling, p *positions) (l origin.Local, err error) {
	tp := kclient.TopicPartition{Topic: f.topic, Partition: id.Partition}
	l = origin.Local{
		Place: a.home.place(a.cfg), Store: f.name, Task: id.String(), Partition: id.Partition,
		Now:   originOf(f, p.identity, a.cfg.ApplicationID),
		First: p.first[tp], End: p.last[tp], Accepted: a.noted.start(tp, p.identity), Expires: p.expires[f.topic],
		ExactlyOnce: a.cfg.Guarantee == ExactlyOnce,
	}
	if f.from == state.FromInput {
		l.End = min(l.End, p.starts[tp].Next) // the task itself takes the records from its committed offset on
		a.noted.since(&l, f, p)
	}
	if a.home.engine != nil && !f.spec.InMemory {
		l.Saved, err = state.ReadSaved(a.home.engine, state.Namespace(id.Partition), f.name)
	}
	return l, err
}

// settlement is what becomes of the copy of a store.
type settlement struct {
	store string
	origin.Verdict
}

func (o *opening) settleCopy(id TaskID, s settlement) error {
	switch s.Action {
	case origin.Log:
		o.log.Warn(s.Text, "task", id.String())
	case origin.Wipe:
		o.log.Warn(s.Text+": restoring all of it", "task", id.String())
		if err := state.EraseSaved(o.app.home.engine, state.Namespace(id.Partition), s.store); err != nil {
			return fmt.Errorf("task %s: %w", id, err)
		}
	}
	return nil
}

// compareOffsets looks for committed offsets that are gone.
func (o *opening) compareOffsets(sub *topology.Subtopology, id TaskID, rows bool) origin.Verdict {
	var inputs []origin.Input
	for _, tp := range o.app.layout().inputs(sub, id.Partition) {
		note, _ := o.app.noted.get(inputKey(tp))
		inputs = append(inputs, origin.Input{
			Topic: tp.Topic, Partition: tp.Partition, Committed: o.committed[tp].Next >= 0,
			Noted: note.Committed && origin.Same(note.TopicID, o.identity.Topics[tp.Topic]) &&
				origin.Same(note.Cluster, o.identity.Cluster),
		})
	}
	v := origin.CompareOffsets(o.app.home.place(o.app.cfg), id.String(), inputs, rows)
	if v.Action == origin.Log {
		o.log.Warn(v.Text, "task", id.String())
	}
	return v
}

// cutWhileRead decides what becomes of a store whose topic was cut while the store was restored. It returns what is to
// be logged where the restore starts over.
func (r *restoring) cutWhileRead(s *restore, out *kclient.OutOfRangeError) (text string, err error) {
	a := r.owner.app
	fillings := a.layout().fillingsOf(r.job.id)
	f := fillings[slices.IndexFunc(fillings, func(f filling) bool { return f.name == s.Store })]
	ctx, cancel := until(context.Background(), r.ended) // the worker may want the task back
	defer cancel()
	p := &positions{first: map[kclient.TopicPartition]int64{logPartition(s.Changelog): out.LogStart}}
	if p.identity, err = a.control.Topics().Identify(ctx, s.Topic); err != nil {
		return "", err
	}
	if err := p.askGone(ctx, a.control, a.layout(), a.noted); err != nil {
		return "", err
	}
	l, err := localCopy(a, r.job.id, f, p)
	if err != nil {
		return "", err
	}
	l.Saved = state.Saved{Known: true, Offset: s.Position}
	v := origin.Shortened(l)
	if err := v.Err(); err != nil {
		return "", fmt.Errorf("task %s: %w", r.job.id, err)
	}
	filled := map[progress.Key]*progress.Value{}
	a.noted.refill(filled, l, f, p)
	return v.Text, a.noted.write(ctx, filled)
}

// setOrigins says what the positions of an opened task count in.
func setOrigins(tx *state.Tx, origins map[string]state.Origin) error {
	for _, st := range tx.Stores() {
		if o, ok := origins[st.Name()]; ok {
			if err := tx.SetOrigin(st.Name(), o); err != nil {
				return err
			}
		}
	}
	return nil
}
