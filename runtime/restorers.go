package runtime

import (
	"cmp"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"thalweg/internal/batch"
	"thalweg/internal/kclient"
	"thalweg/internal/origin"
	"thalweg/internal/task"
	"thalweg/state"
	"thalweg/topology"
)

// restorers restore tasks, some at the same time, on goroutines of their own: the workers go on with the tasks that are
// ready. A task belongs to its restorer from add until finished is closed. Tasks that lack little go first.
type restorers struct {
	app  *app
	most int // at the same time

	mu      sync.Mutex
	waiting []*restoring
	running int
	toggled chan struct{} // closed when the application is paused or resumed
	done    sync.WaitGroup
}

// restoring is a task that is restored.
type restoring struct {
	owner    *restores
	job      *job
	follower *task.Follower
	stores   []*restore
	ended    chan struct{} // closed when the worker wants the task back
	finished chan struct{} // closed when the task is the worker's again
	err      error         // set before finished is closed
	sized    bool          // the sizes of the changelogs were asked for
	reports  atomic.Pointer[[]Restore]
}

// restore is one store of it.
type restore struct {
	*task.Followed
	progress restoreProgress
	told     bool // the log has a line of it
	ended    bool // restored, and in the engine
}

// restorersMost bounds the tasks that are restored at the same time: each has its part of the memory.
const restorersMost = 4

func newRestorers(a *app) *restorers {
	return &restorers{app: a, most: min(max(goruntime.GOMAXPROCS(0), 2), restorersMost), toggled: make(chan struct{})}
}

func (p *restorers) add(r *restoring) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting = append(p.waiting, r)
	slices.SortStableFunc(p.waiting, func(a, b *restoring) int {
		return cmp.Compare(a.follower.Left(), b.follower.Left())
	})
	if p.running < p.most {
		p.running++
		p.done.Go(p.run)
	}
}

// next is the task to restore next; nil ends a restorer.
func (p *restorers) next() *restoring {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) == 0 {
		p.running--
		return nil
	}
	r := p.waiting[0]
	p.waiting = slices.Delete(p.waiting, 0, 1)
	return r
}

// giveUp ends the restoring of a task, which belongs to the worker afterwards. What was read is in the engine.
func (p *restorers) giveUp(r *restoring) {
	p.mu.Lock()
	if i := slices.Index(p.waiting, r); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		close(r.finished)
	}
	p.mu.Unlock()
	close(r.ended)
	<-r.finished
}

// toggle tells restorers that the application was paused or resumed.
func (p *restorers) toggle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.toggled)
	p.toggled = make(chan struct{})
}

// pausing is closed at the next toggle.
func (p *restorers) pausing() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.toggled
}

// run restores one task after the other until none waits.
func (p *restorers) run() {
	memory := p.app.home.memory
	memory.restored.Divide(1)
	defer memory.restored.Divide(-1)
	var fetcher *kclient.Fetcher
	defer func() {
		if fetcher != nil {
			fetcher.Close()
		}
	}()
	for r := p.next(); r != nil; r = p.next() {
		r.err = safely(func() (err error) {
			if fetcher == nil {
				if fetcher, err = p.app.control.OpenFetcher(memory.restoring()); err != nil {
					return err
				}
			}
			return p.restore(r, fetcher)
		})
		r.owner.finish(r)
	}
}

// saveEvery is how long rows wait for the engine: what a process that is killed reads again.
const saveEvery = 5 * time.Second

// restore reads the changelogs of a task up to their ends.
func (p *restorers) restore(r *restoring, fetcher *kclient.Fetcher) error {
	memory, held, answer := p.app.home.memory, int64(0), 0
	share := memory.restored
	hold := func() {
		if bytes := memory.restoreBytes(); bytes != answer { // other restorers have come or gone
			answer = bytes
			fetcher.SetBytesMax(answer)
		}
		now := int64(r.follower.Bytes() + answersMost*answer)
		share.Use(now - held)
		held = now
	}
	hold()
	defer func() { share.Use(-held) }()
	r.begin(fetcher, p.app.cfg.Clock())
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	r.follower.Write = func(write func() error) error { return r.reportWhile(write, ticker.C) }
	defer func() {
		for _, s := range r.stores {
			fetcher.Unset(logPartition(s.Changelog))
		}
	}()
	saved := p.app.cfg.Clock()
	for !r.follower.Done() {
		toggled, fetched := p.pausing(), fetcher.Fetched()
		if p.app.paused.Load() {
			fetched = nil
		}
		select {
		case <-r.ended:
			return r.follower.Save()
		case <-toggled:
			continue
		case <-ticker.C:
			if now := p.app.cfg.Clock(); now.Sub(saved) >= saveEvery {
				saved = now
				if err := r.follower.Save(); err != nil {
					return err
				}
			}
		case some := <-fetched:
			r.follower.BytesMax = int(share.PartBytesMax() / 2) // the other half is what is fetched
			if err := r.apply(some, fetcher); err != nil {
				return err
			}
		}
		hold()
		r.report(p.app.cfg.Clock())
	}
	return nil
}

// begin starts to fetch what the stores lack.
func (r *restoring) begin(fetcher *kclient.Fetcher, now time.Time) {
	for _, s := range r.stores {
		s.progress.begin(now)
		r.owner.app.hooks.tellRestore(r.owner.app.cfg.Hooks.RestoreStarted, s.progress.Restore)
		fetcher.Set(logPartition(s.Changelog), s.Position)
	}
}

// announce logs that a store is being restored, once there is something to restore: a changelog may have the marker of
// a transaction alone.
func (r *restoring) announce(s *restore) {
	if s.told || s.Records == 0 {
		return
	}
	s.told = true
	r.owner.log.Info("restoring", "task", r.job.id.String(), "store", s.Store, "topic", s.Topic, "from", s.Start, "to",
		s.End)
}

// apply adds what was fetched.
func (r *restoring) apply(fetched []kclient.Fetched, fetcher *kclient.Fetcher) error {
	for i := range fetched {
		f := &fetched[i]
		at := slices.IndexFunc(r.stores, func(s *restore) bool { return logPartition(s.Changelog) == f.TopicPartition })
		if at < 0 || f.Stale() {
			continue
		}
		s := r.stores[at]
		if f.Err != nil {
			if err := r.refused(s, f.Err); err != nil {
				return err
			}
			fetcher.Set(f.TopicPartition, s.Position)
		} else if err := r.follower.Add(s.Followed, f.Batches, f.Next); err != nil {
			return r.unreadable(s, err)
		}
		r.announce(s)
		if !s.Done() {
			continue
		}
		fetcher.Unset(f.TopicPartition)
		if err := r.follower.Save(); err != nil {
			return err
		}
		r.end(s)
	}
	return nil
}

// refused starts over when the topic was cut while it was being read.
func (r *restoring) refused(s *restore, cause error) error {
	out, ok := errors.AsType[*kclient.OutOfRangeError](cause)
	if !ok {
		return r.unreadable(s, fmt.Errorf("task %s: restore of store %s: %w", r.job.id, s.Store, cause))
	}
	text, err := r.cutWhileRead(s, out)
	if err != nil {
		return err
	}
	r.owner.log.Warn(text+": restoring all of it", "task", r.job.id.String())
	if err := r.follower.Restart(s.Followed, out.LogStart); err != nil {
		return err
	}
	now := r.owner.app.cfg.Clock()
	r.job.tx.MarkStoreSynced(s.Store, now)
	s.progress.Start = s.Start
	s.progress.begin(now)
	return nil
}

// unreadable adds the ways out to the failure of a restore where a part of the store's changelog can't be read.
func (r *restoring) unreadable(s *restore, cause error) error {
	_, passable := errors.AsType[*topology.ProcessingError](cause) // what the policy could have passed over
	damaged := errors.Is(cause, kerr.CorruptMessage) || errors.Is(cause, batch.ErrCorrupt) ||
		errors.Is(cause, batch.ErrMagic)
	a := r.owner.app
	if !passable && !damaged || a.layout().storeOf(s.Topic) != s.Store {
		return cause
	}
	return fmt.Errorf("%w. %s", cause, origin.Unreadable(origin.Local{
		Place: a.home.place(a.cfg), Store: s.Store, Now: state.Origin{Topic: s.Topic},
	}))
}

// update brings the progress of a store to where it is.
func (s *restore) update() {
	s.progress.Position, s.progress.Records, s.progress.Bytes = s.Position, s.Records, s.Bytes
}

// report says each second how far the stores are.
func (r *restoring) report(now time.Time) {
	some := false
	for _, s := range r.stores {
		if s.Done() || !s.progress.due(now) {
			continue
		}
		r.askSizes()
		some = true
		s.update()
		r.log(s, s.progress.report(now))
	}
	if some {
		r.publish()
	}
}

func (r *restoring) log(s *restore, p Restore, more ...any) {
	s.told = true
	r.owner.log.Info("restoring", slices.Concat([]any{"task", r.job.id.String(), "store", s.Store}, p.attributes(),
		more)...)
	r.owner.app.hooks.tellProgress(r.owner.app.cfg.Hooks.RestoreProgress, p)
}

// askSizes asks for the sizes of the changelogs, once: a restore that ends within a second needs none.
func (r *restoring) askSizes() {
	if r.sized {
		return
	}
	r.sized = true
	var tps []kclient.TopicPartition
	for _, s := range r.stores {
		tps = append(tps, logPartition(s.Changelog))
	}
	sizes := r.owner.app.sizes(tps...)
	for _, s := range r.stores {
		s.progress.sizeBytes = sizes[logPartition(s.Changelog)]
	}
}

// reportWhile writes what was read to the engine on another goroutine, and says each second that it is at it. Nothing
// of the task or of the follower changes meanwhile but by the write.
func (r *restoring) reportWhile(write func() error, ticks <-chan time.Time) error {
	wrote := make(chan error, 1)
	go func() { wrote <- safely(write) }()
	for {
		select {
		case err := <-wrote:
			return err
		case <-ticks:
		}
		now := r.owner.app.cfg.Clock()
		for _, s := range r.stores {
			if !s.ended && s.progress.silent(now) {
				s.update()
				r.log(s, s.progress.waiting(now), "bytes being written", r.follower.Gathered())
			}
		}
		r.publish()
	}
}

// end tells that a store is restored.
func (r *restoring) end(s *restore) {
	s.ended = true
	s.update()
	p := s.progress.end(r.owner.app.cfg.Clock())
	if s.told {
		r.owner.log.Info("restored", "task", r.job.id.String(), "store", s.Store, "records", p.Records, "bytes", p.Bytes,
			"records per second", int64(p.RecordsPerSecond), "in", p.Elapsed)
	}
	r.owner.app.hooks.tellRestore(r.owner.app.cfg.Hooks.RestoreEnded, p)
	r.publish()
}

// publish makes how far it is available to Stats.
func (r *restoring) publish() {
	var all []Restore
	for _, s := range r.stores {
		if !s.ended {
			all = append(all, s.progress.Restore)
		}
	}
	r.reports.Store(&all)
}
