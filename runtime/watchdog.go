package runtime

import "time"

// watch says so when a worker makes no progress: user code that hangs, a broker that does not answer, a lock.
func (a *app) watch(workers []*worker, finished <-chan struct{}) {
	ticker := time.NewTicker(max(a.cfg.StallAfter/4, time.Millisecond))
	defer ticker.Stop()
	told := make([]int64, len(workers)) // the beat at which a stall was reported
	for {
		select {
		case <-ticker.C:
		case <-finished:
			return
		}
		now := a.cfg.Clock()
		for i, w := range workers {
			beat := w.beaten.Load()
			since := now.Sub(time.UnixMilli(beat))
			if beat == 0 || since < a.cfg.StallAfter || told[i] == beat {
				continue
			}
			told[i] = beat
			s := Stall{Worker: i, Doing: w.now.Load().String(), Since: since}
			a.cfg.Logger.Warn("worker makes no progress", "application", a.cfg.ApplicationID, "worker", i,
				"doing", s.Doing, "since", since)
			if f := a.cfg.Hooks.Stalled; f != nil {
				a.hooks.add(func() { f(s) })
			}
		}
	}
}
