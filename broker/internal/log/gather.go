package log

import (
	"sync"
	"sync/atomic"
)

// Gathering opens, closes or makes many logs at a time. Each of them syncs several small files, in two or three steps
// that follow on each other. Where a whole file system can be synced by one call, one call does a step of all logs that
// are in progress. So a thousand logs need a few of these calls, not several syncs each.
type Gathering struct {
	whole func() error // nil: one log at a time
	most  int          // logs in progress at a time
	turns chan struct{}

	mu      sync.Mutex
	members int // goroutines of Each that have not come to their end
	waiting int // of them, for the next round
	running bool
	next    *gatheringRound
}

// gatheringRound is one call for all logs that wait for it.
type gatheringRound struct {
	done chan struct{}
	err  error
}

// Each log in progress has a file open while it waits, and one more while it works. One that works may read a mebibyte
// of its segment at a time.
const (
	gatheringMost  = 1024
	gatheringTurns = 64 // logs that work at a time; the others wait
)

// NewGathering returns a Gathering; whole is as in SyncerOptions. The logs' files come from its file system, and at
// most filesMax of them are open.
func NewGathering(whole func() error, filesMax int) *Gathering {
	g := &Gathering{whole: whole, most: 1, next: &gatheringRound{done: make(chan struct{})}}
	if whole != nil {
		g.most = max(1, min(gatheringMost, filesMax/4))
	}
	g.turns = make(chan struct{}, min(gatheringTurns, g.most))
	return g
}

// Each calls f for 0 to n-1, several at a time, and returns when all calls have. together is for the log that f opens
// or closes.
func (g *Gathering) Each(n int, f func(i int, together *Together)) {
	most := min(g.most, n)
	g.mu.Lock()
	g.members += most
	g.mu.Unlock()
	var together *Together
	if g.whole != nil {
		together = &Together{g}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range most {
		wg.Go(func() {
			g.turns <- struct{}{}
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				f(int(i), together)
			}
			<-g.turns
			g.leave()
		})
	}
	wg.Wait()
}

func (g *Gathering) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members--
	g.runIfAll()
}

// runIfAll runs a round when everybody waits for it. mu is held.
func (g *Gathering) runIfAll() {
	if g.running || g.waiting == 0 || g.waiting < g.members {
		return
	}
	round := g.next
	g.running, g.waiting, g.next = true, 0, &gatheringRound{done: make(chan struct{})}
	g.mu.Unlock()
	round.err = g.whole()
	g.mu.Lock()
	g.running = false
	close(round.done)
}

// Together is how a log that Gathering.Each works on syncs files: with the other logs. Without one, which is nil, a
// log syncs its own files.
type Together struct{ gathering *Gathering }

// fsync does what own would: it syncs files that have been written, by own or by a call for all.
func (t *Together) fsync(own func() error) error {
	if t == nil {
		return own()
	}
	g := t.gathering
	g.mu.Lock()
	round := g.next
	g.waiting++
	g.runIfAll()
	g.mu.Unlock()
	<-g.turns
	<-round.done
	g.turns <- struct{}{}
	if round.err != nil {
		return own() // which tells whether these files are concerned
	}
	return nil
}

// alone syncs the files of one log.
func alone(own func() error) error { return own() }
