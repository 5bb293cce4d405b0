package runtime

import (
	"slices"
	"time"

	"thalweg/internal/task"
)

// publishEvery bounds the cost of publishing.
const publishEvery = 100 * time.Millisecond

// publisher counts what a worker does, and publishes its figures and those of its tasks.
type publisher struct {
	counts  WorkerStats
	changed []*job    // have other figures than are published
	nodes   nodeSums  // of all tasks, those that are closed among them
	last    time.Time // that it published
	box     statsBox  // what it has published; any goroutine
}

func newPublisher(worker int) *publisher {
	return &publisher{counts: WorkerStats{Worker: worker}, nodes: nodeSums{of: map[string]*task.NodeStats{}}}
}

// note notes that a task's figures are others than before.
func (p *publisher) note(j *job) {
	if !j.changed {
		j.changed = true
		p.changed = append(p.changed, j)
	}
}

// retire keeps the counters of a task that is closed. What it has not committed is processed again, and counted then.
func (p *publisher) retire(j *job) {
	j.task.CommittedStats(&j.scratch)
	p.nodes.count(j)
	if j.changed {
		j.changed = false
		p.changed = slices.DeleteFunc(p.changed, func(o *job) bool { return o == j })
	}
}

// committed counts a commit that began at a time and has ended now.
func (p *publisher) committed(began, now time.Time) {
	p.counts.CommitTime += now.Sub(began)
	p.counts.Commits++
	p.counts.LastCommit = began
}

// publish makes the figures available, and tells whether it did: not more often than publishEvery, unless forced to.
func (p *publisher) publish(now time.Time, force bool, of *jobs, interval time.Duration) bool {
	if !force && now.Sub(p.last) < publishEvery {
		return false
	}
	p.last = now
	for _, j := range p.changed {
		j.changed = false
		j.task.Stats(&j.scratch)
		j.figures.Store(j.stats())
		p.nodes.count(j)
	}
	clear(p.changed)
	p.changed = p.changed[:0]
	out := &published{p.counts, of.sorted(), p.nodes.all()}
	out.CommitInterval = interval
	p.box.p.Store(out)
	return true
}
