package streamtest

import (
	"slices"

	"thalweg/internal/batch"
	"thalweg/internal/task"
	"thalweg/topology"
)

// Run processes what was appended.
func (d *Driver) Run() {
	d.t.Helper()
	d.must(d.TryRun())
}

// TryRun is Run for tests that expect a failure.
func (d *Driver) TryRun() error { return d.process() }

// Commit commits, and processes and commits what follows from it.
func (d *Driver) Commit() {
	d.t.Helper()
	d.must(d.TryCommit())
}

// TryCommit is Commit for tests that expect a failure.
func (d *Driver) TryCommit() error {
	if d.failed != nil {
		return d.stopped()
	}
	for again := true; again; {
		if err := d.commit(); err != nil {
			if err := d.fail(err); err != nil {
				return err
			}
		}
		if err := d.process(); err != nil {
			return err
		}
		again = d.open()
	}
	return nil
}

// Discard drops what was not committed, as an aborted transaction does, and processes the records again.
func (d *Driver) Discard() {
	d.t.Helper()
	d.outbox.Discard()
	d.pending = 0
	for _, r := range d.runs {
		d.must(r.Discard())
		r.rewind()
	}
	d.must(d.process())
}

// process feeds and steps the tasks until nothing is left to do. Without commits in between, what lies in the outbox
// is left to the next.
func (d *Driver) process() error {
	if d.failed != nil {
		return d.stopped()
	}
	for {
		worked, err := d.round()
		if err != nil {
			if err := d.fail(err); err != nil {
				return err
			}
			continue
		}
		if !worked {
			d.sent = d.sent[:0]
			return nil
		}
	}
}

// round lets each task process one record.
func (d *Driver) round() (worked bool, err error) {
	if err := d.follow(); err != nil {
		return false, err
	}
	for _, r := range d.runs {
		if err := d.feed(r); err != nil {
			return false, err
		}
		n, err := r.Step(1, d.now)
		if err != nil {
			return false, err
		}
		worked = r.Aligning.TookTime() || worked || n > 0
		if err := d.worked(n); err != nil {
			return false, err
		}
	}
	if !worked {
		if worked, err = d.align(); worked || err != nil {
			return worked, err
		}
	}
	// Records that were passed over leave nothing but a position to commit.
	if !worked && d.config.CommitEvery == 1 && d.open() {
		return true, d.commit()
	}
	return worked, nil
}

// worked counts processed records, and commits when there are enough.
func (d *Driver) worked(n int) error {
	d.pending += n
	if d.config.CommitEvery < 0 || d.pending < d.config.CommitEvery {
		return nil
	}
	return d.commit()
}

// open tells that there is something to commit.
func (d *Driver) open() bool {
	return slices.ContainsFunc(d.runs, func(r *run) bool { return r.Pending() })
}

// feed gives a task what its inputs hold.
func (d *Driver) feed(r *run) error {
	for s, next := range r.fed {
		p := &d.topic(s.topic).partitions[s.partition]
		if p.end == next {
			continue
		}
		for _, b := range p.from(next) {
			if err := r.Add(s.topic, s.partition, b); err != nil {
				return err
			}
		}
		r.fed[s] = p.end
	}
	return d.atEnd(r)
}

// atEnd tells a task that its inputs have never had more than it was given.
func (d *Driver) atEnd(r *run) error {
	for s := range r.fed {
		if err := r.Queues.AtEnd(s.topic, s.partition, 0, d.now); err != nil {
			return err
		}
	}
	return nil
}

// commit makes what all tasks did since the last commit one transaction.
func (d *Driver) commit() error {
	d.pending = 0
	sealed := make([]task.Ready, len(d.runs))
	for i, r := range d.runs {
		var err error
		if sealed[i], err = r.Ready(); err != nil {
			return err
		}
	}
	if err := d.write(); err != nil {
		return err
	}
	for i, r := range d.runs {
		for _, o := range sealed[i].Offsets {
			d.offsets[source{o.Topic, o.Partition}] = o
		}
		d.keepTimes(r.ID().Partition, sealed[i].Times)
		if err := r.Advance(d.position(r.Task)); err != nil {
			return err
		}
	}
	return nil
}

// keepTimes keeps how far operators are, for a restart.
func (d *Driver) keepTimes(partition int32, times []task.Time) {
	for _, t := range times {
		if d.times[partition] == nil {
			d.times[partition] = map[string]int64{}
		}
		if d.times[partition][t.Name] = t.At; t.At == topology.Unknown {
			delete(d.times[partition], t.Name)
		}
	}
}

// write puts what lies in the outbox into the topics.
func (d *Driver) write() error {
	for _, p := range d.outbox.Take() {
		raw, err := p.Builder.Finish(batch.NoProducer())
		if err == nil {
			err = d.topic(p.Topic).append(p.Partition, slices.Clone(raw))
		}
		if err != nil {
			return err
		}
		d.outbox.Recycle(p)
	}
	return nil
}
