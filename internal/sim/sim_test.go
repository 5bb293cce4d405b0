package sim

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/internal/tasks"
)

var (
	firstSeed = flag.Uint64("seed", 1, "the first seed")
	seeds     = flag.Int("seeds", 0, "how many seeds to run; internal/sim/build makes a test that can")
	repeat    = flag.Int("repeat", 1, "how often each seed is run")
	first     = flag.Bool("first", false, "stop at the first failure")
	traced    = flag.Bool("trace", false, "write the trace of each run, and not of failures alone")
	calm      = flag.Bool("calm", false, "without faults")
)

// realTimeMax is how long a run may take. One that takes longer spins: no time passes while somebody is busy.
var realTimeMax = flag.Duration("stands", 2*time.Minute, "after how long of real time a run counts as hanging")

// TestSimulation runs the seeds. Each is a test of its own, so that a failure names it.
func TestSimulation(t *testing.T) {
	if *seeds == 0 {
		t.Skip("see make sim")
	}
	occurred := map[string]int{}
	failures := 0
	for seed := *firstSeed; seed < *firstSeed+uint64(*seeds); seed++ {
		for again := range *repeat {
			if !simulate(t, fmt.Sprintf("seed=%d/%d", seed, again), seed, occurred) {
				failures++
				if *first {
					return
				}
			}
		}
	}
	t.Logf("%d of %d runs failed", failures, *seeds**repeat)
	expected := []string{
		"task: restoring", "task: running", "task: closed", "worker: rewound", followed(false), followed(true), nearEnough,
		promoted,
	}
	for _, f := range faults {
		expected = append(expected, "fault: "+f.name)
	}
	for _, m := range tasks.LegalMoves() {
		if m == rareMove && *seeds < 10*allHappenIn {
			continue
		}
		expected = append(expected, moveOf(m.From.String(), m.To.String()))
	}
	for _, l := range lossesOfRequests {
		expected = append(expected, "request: "+kmsg.NameForKey(l.key.Int16()), lossOf(l.key, false), lossOf(l.key, true))
	}
	for _, what := range expected {
		occurred[what] += 0
	}
	for _, what := range slices.Sorted(maps.Keys(occurred)) {
		t.Logf("%-60s %d", what, occurred[what])
		if occurred[what] == 0 && *seeds >= allHappenIn {
			t.Errorf("%d seeds show nothing of: %s", *seeds, what)
		}
	}
}

// allHappenIn is how many seeds show each fault and each transition of a task.
const allHappenIn = 200

// rareMove occurs in one of some hundred seeds: a worker goes back to its last commit where it was to suspend a task.
var rareMove = tasks.Move{From: tasks.Suspending, To: tasks.Waiting}

func simulate(t *testing.T, name string, seed uint64, occurred map[string]int) bool {
	return t.Run(name, func(t *testing.T) {
		p := planned(seed)
		began := time.Now()
		over := make(chan struct{})
		defer close(over)
		var tr atomic.Pointer[trace]
		go watch(t, p, &tr, over)
		var virtual time.Duration
		synctest.Test(t, func(t *testing.T) {
			pass(30 * 365 * 24 * time.Hour) // from 2000: records have a later date
			w := newWorld(t, p, occurred)
			tr.Store(w.trace)
			defer func() {
				if r := recover(); r != nil { // the bubble would tell of its goroutines alone
					w.trace.write(t, seed)
					fmt.Fprintf(os.Stderr, "panic: seed %d: %v\n%s", seed, r, debug.Stack())
					os.Exit(2)
				}
				virtual = time.Since(w.trace.start)
				if t.Failed() || *traced {
					w.trace.write(t, seed)
				}
			}()
			w.run()
		})
		t.Logf("%s: %v in %v", p, virtual.Round(time.Second), time.Since(began).Round(time.Millisecond))
	})
}

// watch ends the program when a run hangs, and shows where.
func watch(t *testing.T, p plan, tr *atomic.Pointer[trace], over <-chan struct{}) {
	select {
	case <-over:
	case <-time.After(*realTimeMax):
		buf := make([]byte, 16<<20)
		fmt.Fprintf(os.Stderr, "panic: seed %d hangs since %v: %v\n%s\n", p.seed, *realTimeMax, p,
			buf[:runtime.Stack(buf, true)])
		if w := tr.Load(); w != nil {
			w.write(t, p.seed)
		}
		os.Exit(2)
	}
}
