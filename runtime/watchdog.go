package runtime

import "time"

// watch says so when a worker makes no progress: user code that hangs, a broker that does not answer, a lock.
func (a *app) watch(finished <-chan struct{}) {
	ticker := time.NewTicker(max(a.cfg.StallTimeout/4, time.Millisecond))
	defer ticker.Stop()
	told := map[*worker]int64{} // the beat at which a stall was reported
	for {
		select {
		case <-ticker.C:
		case <-finished:
			return
		}
		now := a.cfg.Clock()
		a.mu.Lock()
		workers := a.workers
		a.mu.Unlock()
		for _, w := range workers {
			beat := w.liveness.beaten.Load()
			since := now.Sub(time.UnixMilli(beat))
			if beat == 0 || since < a.cfg.StallTimeout || told[w] == beat {
				continue
			}
			told[w] = beat
			s := Stall{Worker: w.index, Doing: w.liveness.now.Load().String(), Since: since}
			a.cfg.Logger.Warn("worker makes no progress", "application", a.cfg.ApplicationID, "worker", w.index,
				"doing", s.Doing, "since", since)
			if f := a.cfg.Hooks.Stalled; f != nil {
				a.hooks.add(func() { f(s) })
			}
		}
	}
}
