package runtime

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"time"

	"thalweg/internal/kclient"
	"thalweg/state/engine"
)

// When the local copy of a store last had all that its topic had lies beside its position in the engine (state.Saved).
// Compaction drops the tombstones of a topic after its delete.retention.ms: a copy that lacks something, and was not
// kept up since before then, would keep keys that were deleted. It is wiped.
//
// The time is written with each checkpoint that moves the position, when a task is closed, and every syncedEvery while
// its changelog stands still. It never is later than the last proof that the task was this process's: a commit, or an
// answer of the group's coordinator. A process that has lost its tasks, and does not know it yet, proves nothing.

const (
	// defaultDeleteRetention is Apache Kafka's delete.retention.ms. It counts where a broker does not tell.
	defaultDeleteRetention = 24 * time.Hour
	// syncedEvery is how old the time of a copy that is kept up may be on disk.
	syncedEvery = 10 * time.Minute
	// syncedMargin, or a quarter of the retention where that is less, is what a copy has left to be read up to its
	// topic's end, and what the clocks of this machine and the broker's may be set by meanwhile.
	syncedMargin = 20 * time.Minute
	// confirmMost bounds the wait for a proof that nobody needs.
	confirmMost = time.Second
)

// outdated tells that tombstones may be gone from a topic which a copy does not have yet. A time that is not known, or
// is ahead of the clock, counts as long ago.
func outdated(synced, now time.Time, retention time.Duration) bool {
	margin := min(syncedMargin, retention/4)
	age := now.Sub(synced)
	return synced.IsZero() || age > retention-margin || age < -margin
}

// deleteRetention is how long a topic keeps tombstones: as the broker says, or else the default, or less where the
// program sets that.
func (l *layout) deleteRetention(topic string, told map[string]time.Duration) time.Duration {
	if d, ok := told[topic]; ok {
		return d
	}
	for _, spec := range l.internal {
		ms, err := strconv.ParseInt(spec.Config["delete.retention.ms"], 10, 64)
		if spec.Name == topic && err == nil && ms < defaultDeleteRetention.Milliseconds() {
			return time.Duration(ms) * time.Millisecond
		}
	}
	return defaultDeleteRetention
}

// proofs are what a worker has to show that its tasks are its own, by which their stores had all that was written to
// their changelogs.
type proofs struct {
	app         *app
	log         *slog.Logger
	client      *kclient.Client
	jobs        *jobs
	touched     *touched // these may write their time soon
	checkpoints *checkpoints
	last        time.Time // when the tasks were the worker's for sure
	renewed     time.Time // the last time that it wrote that the stores are kept up
}

// confirm asks for a proof. Where no answer comes, the stores look older than they are.
func (p *proofs) confirm(ctx context.Context, now time.Time) {
	if p.app.home.engine == nil || len(p.jobs.running) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, confirmMost)
	defer cancel()
	if err := p.client.ConfirmMember(ctx); err != nil {
		p.log.Debug("can't confirm the membership", "err", err)
		return
	}
	p.proven(now, p.touched.jobs)
}

// proven notes a proof that the tasks were this worker's at a time. Those that have something to commit get it at once.
func (p *proofs) proven(at time.Time, some []*job) {
	p.last = at
	for _, j := range some {
		j.tx.MarkSynced(at)
	}
}

// applyTo gives the last proof to a task that has nothing to commit, and whose time is about to be written.
func (p *proofs) applyTo(j *job) {
	if !j.started.IsZero() && !p.last.Before(j.started) {
		j.tx.MarkSynced(p.last)
	}
}

// renew writes down that the stores are kept up, as long as nothing else does.
func (p *proofs) renew(ctx context.Context, now time.Time) error {
	if p.renewed.IsZero() {
		p.renewed = now
	}
	if now.Sub(p.renewed) < syncedEvery {
		return nil
	}
	p.renewed = now
	if now.Sub(p.last) > syncedEvery/2 {
		p.confirm(ctx, now)
	}
	for _, j := range p.jobs.running {
		p.applyTo(j)
		p.checkpoints.add(j)
	}
	err := p.checkpoints.write()
	p.app.home.flush(&p.app.cfg)
	return err
}

// flush makes what is in the engine durable, beside everything else: there is no log of it, so a process that is killed
// leaves what the last flush has written, with the times of then.
func (h *home) flush(cfg *Config) {
	e := h.engine
	if e == nil || h.flushing.Swap(true) {
		return
	}
	go func() {
		defer h.flushing.Store(false)
		if err := e.Flush(); err != nil && !errors.Is(err, engine.ErrClosed) {
			cfg.Logger.Warn("can't flush the state", "application", cfg.ApplicationID, "err", err)
		}
	}()
}

// goal is where the topic of a global store ended when it was asked: a store that comes there was synced then.
type goal struct {
	asked time.Time
	ends  map[kclient.TopicPartition]int64 // not reached yet
}

// keepSynced writes down that the store is kept up: it proves that by reaching one goal after the other.
func (f *fill) keepSynced(ctx context.Context, now time.Time) error {
	if len(f.goal.ends) > 0 {
		for _, in := range f.task.Queues.Inputs() {
			if tp := (kclient.TopicPartition{Topic: in.Topic, Partition: in.Partition}); in.Next >= f.goal.ends[tp] {
				delete(f.goal.ends, tp)
			}
		}
		if len(f.goal.ends) > 0 {
			return nil
		}
		f.tx.MarkSynced(f.goal.asked)
		err := f.tx.Checkpoint()
		f.app.home.flush(&f.app.cfg)
		return err
	}
	if now.Sub(f.goal.asked) < syncedEvery {
		return nil
	}
	f.goal = goal{asked: now}
	var tps []kclient.TopicPartition
	for _, in := range f.task.Queues.Inputs() {
		tps = append(tps, kclient.TopicPartition{Topic: in.Topic, Partition: in.Partition})
	}
	ctx, cancel := context.WithTimeout(ctx, confirmMost)
	defer cancel()
	ends, err := f.control.ListOffsets(ctx, tps, kclient.Latest, false)
	if err != nil { // it looks older than it is until the next goal
		f.log.Debug("can't ask where the topic ends", "err", err)
		return nil
	}
	f.goal.ends = ends
	return f.keepSynced(ctx, now)
}
