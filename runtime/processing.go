package runtime

import (
	"context"
	"time"

	"thalweg/internal/task"
)

// stepRecords is how many records a task may process before the worker looks at what else there is to do.
const stepRecords = 4096

// processing lets the tasks of a worker process, for a turn's time each time that the worker comes by.
type processing struct {
	app      *app
	liveness *liveness
	outbox   *task.Outbox // of the tasks
	jobs     *jobs
	inputs   *inputs
	turns    *turns
	search   *search
	commits  *committer
	pace     *pace
	slow     *slowCalls
	deadline *deadline // of the turn
	visit    visit
	progress bool // something was processed in the last turn
}

// work lets tasks process until the turn's time is over. It tells whether they did, and what time it is then.
func (p *processing) work(ctx context.Context, now time.Time) (worked bool, then time.Time, err error) {
	p.progress = false
	inside, err := p.visit.enter(func() error { return p.commits.commitRest(ctx, now) })
	if err == nil && inside {
		worked, err = p.turn(ctx, now)
	}
	if !worked && err == nil {
		return false, now, nil
	}
	then = p.app.cfg.Clock()
	p.slow.took(then.Sub(now))
	return worked, then, err
}

// turn is work for those who may process.
func (p *processing) turn(ctx context.Context, now time.Time) (worked bool, err error) {
	p.deadline.set(p.commits.turnTime(now))
	retried, err := p.retry(ctx, now)
	if p.commits.flight.hasEnded() { // maybe before the flag was reset
		p.deadline.passed.Store(true)
	}
	if err == nil && !(retried && p.deadline.passed.Load()) && !p.commits.blocks() {
		p.progress, err = p.process(now)
	}
	return retried || p.progress, err
}

// process lets tasks work for a while, all of them unless some are suspected of what the broker refuses. It reports
// whether any record was processed.
func (p *processing) process(now time.Time) (processed bool, err error) {
	if p.app.paused.Load() {
		return false, nil
	}
	if !p.search.active() {
		return p.step(now)
	}
	if !p.commits.open.IsZero() { // a commit is due
		return false, nil
	}
	for range len(p.search.suspects) + 1 {
		if s := p.search.next(); s == nil {
			processed, err = p.step(now)
		} else if p.jobs.runs(s.job) {
			processed, err = p.stepSuspect(s, now)
		}
		if processed || err != nil {
			break
		}
	}
	return processed, err
}

// step lets the tasks that are ready have their turns, about one each, until the turn's time is over. Suspects have
// transactions of their own.
func (p *processing) step(now time.Time) (processed bool, err error) {
	p.turns.ring(now, p.jobs.running)
	wall := now.UnixMilli()
	defer p.turns.putBack()
	for range p.turns.schedule.count {
		if processed && p.deadline.passed.Load() {
			break
		}
		most := p.pace.left(p.search.records)
		if most == 0 || p.commits.underWay && p.outbox.Crowded() {
			break // a commit is due
		}
		j, others := p.turns.schedule.next()
		if j == nil {
			break
		}
		if p.search.of(j) != nil {
			p.turns.putAside(j)
			continue
		}
		budget := stepRecords
		if others {
			budget = smallTurn
		}
		worked, left, err := p.stepTask(j, min(budget, most), wall)
		if err != nil {
			return processed, err
		}
		if worked {
			processed = true
			p.commits.workedOn(j, now)
		} else {
			p.commits.noteMoved(j, now) // over records that were dropped
		}
		switch {
		case left && worked:
			p.turns.wake(j)
		case left:
			p.turns.putAside(j)
		}
	}
	return processed, nil
}

// stepTask lets a task process records, and then call what is due by the wall clock. left tells that it has more.
func (p *processing) stepTask(j *job, budget int, wall int64) (worked, left bool, err error) {
	first := p.commits.touched.add(j)
	p.liveness.doing(&j.processing)
	if err := p.inputs.atEnd(j); err != nil {
		return false, true, err
	}
	n, err := j.task.Step(budget, wall)
	p.search.processed(j, n, false)
	if err != nil {
		return n > 0, true, err
	}
	fired, err := j.task.Punctuate(wall)
	if err != nil {
		return n > 0, true, err
	}
	p.turns.called(j)
	if j.task.Aligning.WaitsForTime() {
		p.app.aligner.ask(&j.task.Aligning, n > 0)
	}
	if worked = n > 0 || fired || j.task.Aligning.TookTime(); first && !worked && !j.task.Unsealed() {
		p.commits.touched.undo(j)
	}
	return worked, p.inputs.relax(j), nil
}

// stepSuspect lets a suspect work for one transaction. A punctuation has one of its own: it is part of no record.
func (p *processing) stepSuspect(s *suspect, now time.Time) (processed bool, err error) {
	p.commits.touched.add(s.job)
	p.liveness.doing(&s.job.processing)
	if processed, err = s.job.task.Punctuate(now.UnixMilli()); err == nil && !processed {
		var n int
		n, err = s.job.task.Step(min(s.most, p.pace.left(0)), now.UnixMilli())
		p.search.processed(s.job, n, false)
		processed = n > 0
	}
	processed = s.job.task.Aligning.TookTime() || processed
	p.turns.called(s.job)
	switch {
	case err != nil:
	case processed:
		p.commits.workedOn(s.job, now)
	default:
		p.commits.noteMoved(s.job, now) // over records that were dropped
	}
	if p.inputs.relax(s.job) {
		p.turns.wake(s.job)
	}
	return processed, err
}

// retry processes the first record whose wait is over. What was processed before is committed first.
func (p *processing) retry(ctx context.Context, now time.Time) (processed bool, err error) {
	if p.app.paused.Load() {
		return false, nil
	}
	wall := now.UnixMilli()
	j := p.turns.toRetry(wall)
	if j == nil {
		return false, nil
	}
	if err := p.commits.settle(ctx); err != nil {
		return false, err
	}
	if p.commits.unsealed() || j.task.Pending() {
		if err := p.commits.commit(ctx, now); err != nil {
			return false, err
		}
	}
	p.commits.touched.add(j)
	p.liveness.doing(&j.processing)
	processed, err = j.task.Retry(wall)
	p.turns.called(j)
	p.turns.wake(j)
	if processed {
		p.search.processed(j, 1, true)
		p.commits.worked(now)
	}
	return processed, err
}
