package task

import (
	"thalweg/internal/defect"
	"thalweg/topology"
)

// progress is how far a task is, as commits tell it: the offsets of its inputs, the times of its operators, and how far
// its time is behind repartitions.
type progress struct {
	queues   *Queues
	times    *times
	aligning *Aligning
	outbox   *Outbox
	wrote    bool // to the outbox, since the last commit was sealed
}

// noteWritten notes whether the outbox has grown since it had so many bytes, in a call of the task.
func (p *progress) noteWritten(before int) { p.wrote = p.wrote || p.outbox.bytes > before }

// changed tells that there is something to commit that the commit under way does not have.
func (p *progress) changed() bool { return p.queues.Moved() || p.worked() }

// worked is changed without inputs that moved: they may be behind records that were dropped.
func (p *progress) worked() bool { return p.wrote || p.times.moved() || p.aligning.changed() }

// hasOffset tells whether the next commit has an offset of the task.
func (p *progress) hasOffset() bool {
	return len(p.queues.list) > 0 &&
		(p.queues.Moved() || p.wrote && !defect.UnfencedWrites || p.times.moved() || p.aligning.changed())
}

// offsets are the positions of the inputs that moved since the last commit. Where only marks did, or where the task has
// written something though no input moved, as a punctuation does, it is the first input's: the group takes an offset
// from the task's owner alone, and nothing else in a transaction shows whose it is.
func (p *progress) offsets() []Offset {
	if !p.hasOffset() {
		return nil
	}
	var offsets []Offset
	marks := p.aligning.beside(p.times.beside(), p.aligning.now(), p.times.commits+1)
	for _, q := range p.queues.list {
		if q.moved() || p.aligning.goesWith(q) {
			offsets = append(offsets, q.offset(marks))
		}
	}
	if len(offsets) == 0 {
		offsets = append(offsets, p.queues.list[0].offset(marks))
	}
	return offsets
}

// changedTimes are the times to be kept with the offsets. There are none where nothing is committed of the task, since
// nothing would show whose they are.
func (p *progress) changedTimes() []Time {
	if !p.hasOffset() {
		return nil
	}
	return p.times.take()
}

// fence is an offset that changes nothing: the committed one of the first input.
func (p *progress) fence() (o Offset, ok bool) {
	if len(p.queues.list) == 0 {
		return Offset{}, false
	}
	q := p.queues.list[0]
	return q.offsetAt(q.committed, p.aligning.beside(p.times.fence(), p.aligning.committed, p.times.commits)), true
}

// seek goes to where an input was committed. foreign is told about metadata that no task has written: anybody may
// commit for a group, and the offset is what a tool or a consumer wanted.
func (p *progress) seek(q *queue, o Offset, foreign func(Offset, error)) {
	partitionTime, marks, err := decodeMetadata(o.Metadata)
	if err != nil {
		if foreign != nil {
			foreign(o, err)
		}
		partitionTime, marks = topology.Unknown, nil
	}
	q.next, q.fetched, q.partitionTime = o.Next, o.Next, partitionTime
	q.commit()
	q.fresh = o.Fresh
	q.streamTime.see(q.partitionTime)
	p.aligning.seek(marks, o, partitionTime)
	p.times.seek(marks, o)
	q.streamTime.committed = q.streamTime.newest
}

// seal fixes what the next commit says.
func (p *progress) seal() {
	p.wrote = false
	p.aligning.seal()
	p.times.seal()
	p.queues.seal()
}

// advance tells that what was sealed is committed.
func (p *progress) advance() {
	p.queues.advance()
	p.aligning.advance()
	p.times.advance()
}

// rewind goes back to the last commit.
func (p *progress) rewind() {
	p.wrote = false
	p.times.discard()
	p.queues.rewind()
	p.aligning.rewind()
}
