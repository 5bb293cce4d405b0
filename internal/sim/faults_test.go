package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/internal/faultfs"
	"thalweg/runtime"
)

// fault is one way to disturb a run. It returns when the disturbance is over, or leaves its end to a goroutine.
type fault struct {
	name   string
	fits   func(plan) bool
	do     func(w *world, r *rand.Rand)
	first  bool // it is prepared before the first process starts
	weight int  // it is chosen this many times more often than others; 0: 1
}

func always(plan) bool        { return true }
func embedded(p plan) bool    { return p.embedded }
func onTheWire(p plan) bool   { return !p.embedded }
func exactlyOnce(p plan) bool { return onTheWire(p) && p.guarantee == runtime.ExactlyOnce }
func atLeastOnce(p plan) bool { return onTheWire(p) && p.guarantee == runtime.AtLeastOnce }

// fencing tells that processes may come back that have lost their tasks without knowing it. At least once nothing
// fences their writes: those to a changelog go over what their successors have written, and rows get older.
func fencing(p plan) bool {
	return onTheWire(p) && (p.guarantee == runtime.ExactlyOnce || p.program.rows == nil)
}

// spreads tells that there are tasks for two processes.
func spreads(p plan) bool { return onTheWire(p) && int(p.partitions)*p.program.tasks > 1 }

// downTimeMax is how long a process or the broker is down at most.
const downTimeMax = 4 * time.Second

// zombies is a fault that others come from: a process that has lost its tasks and has not heard of it.
var zombies = &fault{name: "a process is paused and comes back as a zombie", fits: fencing, weight: 3,
	do: func(w *world, r *rand.Rand) {
		h := w.pick(r).host
		h.hold()
		w.later(sessionTimeout+r.N(sessionTimeout), h.flow)
	}}

var growth = &fault{
	name: "partitions are added", weight: 5, fits: func(p plan) bool { return p.program.grows },
	do: func(w *world, _ *rand.Rand) { w.grow() },
}

// expelled is a fault under which a process can't commit what it has to give back, to the group or to another worker,
// until the group has taken it out.
var expelled = &fault{
	name: "the membership is lost while tasks are given back slowly", weight: 3,
	fits: func(p plan) bool { return fencing(p) && spreads(p) },
	do: func(w *world, r *rand.Rand) {
		p := w.alone(r)
		h := p.host
		slowly := func() { h.setDelayOf(3*sessionTimeout, kmsg.EndTxn, kmsg.TxnOffsetCommit, kmsg.OffsetCommit) }
		w.hurry.Store(true) // so that there is something to commit
		if r.IntN(2) == 0 {
			assigned := h.onceAssigned(slowly)
			w.join()
			atMost(2*sessionTimeout, assigned)
		} else {
			slowly()
			pass(time.Second)
			w.setWorkers(p, 1+len(p.app.Stats().Workers)%2)
		}
		w.hurry.Store(false)
		w.expel(h, r)
	},
}

// interrupted is a fault under which tasks that a process gives back are not settled as usual: their last commit fails,
// the process that was to have them leaves again, or the one that had them stops.
var interrupted = &fault{
	name: "giving tasks back is interrupted", weight: 5, fits: spreads,
	do: func(w *world, r *rand.Rand) {
		p := w.alone(r)
		fails := exactlyOnce(w.plan) && r.IntN(3) == 0
		assigned := p.host.onceAssigned(func() {
			if fails {
				p.host.setDelayOf(transactionTimeout+2*time.Second, kmsg.EndTxn)
			}
		})
		w.hurry.Store(true) // so that there is something to commit
		newcomer := w.join()
		atMost(2*sessionTimeout, assigned)
		w.hurry.Store(false)
		if fails {
			pass(2 * transactionTimeout)
			p.host.heal()
			return
		}
		pass(r.N(100 * time.Millisecond))
		if r.IntN(2) == 0 {
			w.leave(newcomer)
		} else {
			p.stop()
			p.start()
		}
	},
}

var faults = slices.Concat([]*fault{zombies, expelled, interrupted, growth}, simple([]simpleFault{
	{"a process is killed", always, func(w *world, r *rand.Rand) { w.killProcess(r, false, false) }},
	{"a process loses power", always, func(w *world, r *rand.Rand) { w.killProcess(r, true, false) }},
	{"a process is killed and loses its disk", always, func(w *world, r *rand.Rand) { w.killProcess(r, false, true) }},
	{"a process is restarted", always, func(w *world, r *rand.Rand) {
		p := w.pick(r)
		p.stop()
		pass(r.N(downTimeMax))
		p.start()
	}},
	{"a process joins", onTheWire, func(w *world, _ *rand.Rand) { w.join() }},
	{"a process leaves", onTheWire, func(w *world, r *rand.Rand) {
		if len(w.procs) == 1 {
			w.join()
		}
		w.leave(w.pick(r))
	}},
	{"the broker is killed", onTheWire, func(w *world, r *rand.Rand) { w.killBroker(r, false) }},
	{"the broker loses power", onTheWire, func(w *world, r *rand.Rand) { w.killBroker(r, true) }},
	{"broker and application lose power", embedded, func(w *world, r *rand.Rand) {
		w.procs[0].kill(r, true)
		w.machine.kill(r, true)
		pass(r.N(downTimeMax))
		w.machine.open()
		w.procs[0].start()
	}},
	{"the broker is restarted", onTheWire, func(w *world, r *rand.Rand) {
		w.machine.close()
		pass(r.N(downTimeMax))
		w.machine.open()
	}},
	{"connections are cut", onTheWire, func(w *world, r *rand.Rand) { w.pick(r).host.cut() }},
	{"a process is cut off", fencing, func(w *world, r *rand.Rand) {
		h := w.pick(r).host
		h.setCutOff(true)
		w.later(r.N(10*time.Second), func() { h.setCutOff(false) })
	}},
	{"messages are delayed", fencing, func(w *world, r *rand.Rand) {
		h := w.pick(r).host
		h.setDelay(time.Millisecond + r.N([]time.Duration{50 * time.Millisecond, 2 * time.Second}[r.IntN(2)]))
		w.later(r.N(10*time.Second), func() { h.setDelay(0) })
	}},
	{"requests of a kind are slow", fencing, func(w *world, r *rand.Rand) {
		h := w.pick(r).host
		key, d := lossesOfRequests[r.IntN(len(lossesOfRequests))].key, time.Millisecond+r.N(5*time.Second)
		h.setDelayOf(d, key)
		w.later(r.N(10*time.Second), func() { h.setDelayOf(0, key) })
	}},
	{"tasks are taken back while they open slowly", spreads, func(w *world, r *rand.Rand) {
		h := w.openSlowly(r, time.Second+r.N(4*time.Second))
		pass(r.N(time.Second))
		w.join()
		w.later(5*time.Second+r.N(5*time.Second), h.heal)
	}},
	{"the membership is lost while tasks open slowly", spreads, func(w *world, r *rand.Rand) {
		h := w.openSlowly(r, 2*sessionTimeout)
		pass(r.N(3 * time.Second))
		w.expel(h, r)
	}},
	{"the end of a transaction is lost, and the process is cut off", exactlyOnce, func(w *world, r *rand.Rand) {
		h, quiet := w.pick(r).host, transactionTimeout+r.N(5*time.Second)
		h.loseWith(kmsg.EndTxn, func() {
			h.setCutOff(true)
			w.later(quiet, func() { h.setCutOff(false) })
		})
	}},
	{"the broker's disk is slow", always, func(w *world, r *rand.Rand) { w.slow(w.machine.disk(), r) }},
	{"the broker's disk is full", always, func(w *world, r *rand.Rand) { w.fill(w.machine.disk(), r) }},
	{"a process's disk is slow", always, func(w *world, r *rand.Rand) { w.slow(w.pick(r).drive, r) }},
	{"a process's disk is full", always, func(w *world, r *rand.Rand) {
		p := w.pick(r)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		// One that starts on a full disk says so and ends, and Pebble's goroutines stay.
		if err := p.app.WaitRunning(ctx); err == nil {
			w.fill(p.drive, r)
		}
	}},
	{"the broker's clock is set", always, func(w *world, r *rand.Rand) {
		const back, most = 50 * time.Minute, 11 * time.Hour // records may not be an hour ahead
		w.machine.clock.set(r.N(back+most) - back)
	}},
	{"a process's clock is set", always, func(w *world, r *rand.Rand) {
		const most = time.Minute
		w.pick(r).clock.set(r.N(2*most) - most)
	}},
	{"the number of workers is set", always, func(w *world, r *rand.Rand) {
		w.setWorkers(w.pick(r), 1+r.IntN(workersMost))
	}},
}), losses())

// disturb lets the faults of the plan happen.
func (w *world) disturb() {
	for _, e := range w.plan.events {
		if e.fault.first {
			continue
		}
		if wait := e.at - time.Since(w.trace.start); wait > 0 {
			pass(wait)
		}
		if w.failed.Load() {
			return
		}
		w.let(e)
	}
	if wait := w.plan.length - time.Since(w.trace.start); wait > 0 {
		pass(wait)
	}
}

// prepare prepares the faults of the first start.
func (w *world) prepare() {
	for _, e := range w.plan.events {
		if e.fault.first {
			w.let(e)
		}
	}
}

func (w *world) let(e event) {
	w.trace.add("world", "fault: %s", e.fault.name)
	w.happened("fault: " + e.fault.name)
	e.fault.do(w, e.r)
}

func (w *world) pick(r *rand.Rand) *process { return w.procs[r.IntN(len(w.procs))] }

// later ends a fault, if the run has not ended all of them before.
func (w *world) later(after time.Duration, end func()) {
	w.running.Go(func() {
		pass(after)
		w.trace.add("world", "a fault ends")
		end()
	})
}

func (w *world) killProcess(r *rand.Rand, power, loseDisk bool) {
	p := w.pick(r)
	p.kill(r, power)
	if w.plan.embedded { // the broker is a part of it, and never behind what the stores have
		w.machine.kill(r, power)
	}
	if loseDisk {
		p.loseDisk()
	}
	pass(r.N(downTimeMax))
	if w.plan.embedded {
		w.machine.open()
	}
	p.start()
}

func (w *world) killBroker(r *rand.Rand, power bool) {
	w.machine.kill(r, power)
	pass(r.N(downTimeMax))
	w.machine.open()
}

func (w *world) leave(p *process) {
	w.procs = slices.DeleteFunc(w.procs, func(o *process) bool { return o == p })
	p.stop()
}

func (w *world) setWorkers(p *process, n int) {
	if err := p.app.SetWorkers(n); err != nil {
		w.fail("%s: %v", p.name, err)
	}
}

// alone stops all processes but one, which gets all tasks.
func (w *world) alone(r *rand.Rand) *process {
	p := w.pick(r)
	for _, other := range w.procs {
		if other != p {
			other.stop()
		}
	}
	w.procs = []*process{p}
	ctx, cancel := context.WithTimeout(context.Background(), 2*sessionTimeout)
	defer cancel()
	for ctx.Err() == nil && w.checkOwners() != nil {
		pass(100 * time.Millisecond)
	}
	return p
}

// openSlowly restarts a process that has all tasks. It takes long to find out where they are to begin. openSlowly
// returns when it has its assignment.
func (w *world) openSlowly(r *rand.Rand, d time.Duration) *host {
	p := w.alone(r)
	p.stop()
	var assigned <-chan struct{}
	p.armed = append(p.armed, func(h *host) {
		assigned = h.onceAssigned(func() { h.setDelayOf(d, kmsg.OffsetFetch, kmsg.ListOffsets, kmsg.Fetch) })
	})
	p.start()
	atMost(2*sessionTimeout, assigned)
	return p.host
}

// expel lets the group hear nothing of a member until it takes it out.
func (w *world) expel(h *host, r *rand.Rand) {
	h.setDelayOf(sessionTimeout+time.Second, kmsg.Heartbeat, kmsg.JoinGroup, kmsg.SyncGroup)
	pass(sessionTimeout + time.Second + r.N(4*time.Second))
	h.heal()
}

func (w *world) slow(d *drive, r *rand.Rand) {
	d.SlowSyncs(time.Millisecond + r.N(300*time.Millisecond))
	w.later(r.N(10*time.Second), func() { d.SlowSyncs(0) })
}

func (w *world) fill(d *drive, r *rand.Rand) {
	d.Fail(&faultfs.Fault{Err: syscall.ENOSPC, Kind: faultfs.Grows})
	w.later(r.N(10*time.Second), func() { d.Fail(nil) })
}

// grow adds a partition to the input. Keys that are there stay where they are.
func (w *world) grow() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cl := w.client()
	defer cl.Close()
	w.plan.finalPartitions++
	defer w.grown.Add(1)
	for {
		resp, err := kadm.NewClient(cl).UpdatePartitions(ctx, int(w.plan.finalPartitions), w.plan.program.inputs...)
		if err == nil {
			err = resp.Error()
		}
		switch {
		case err == nil:
			return
		case errors.Is(err, kerr.KafkaStorageError): // the disk is full for a while
			pass(time.Second)
		default:
			w.fail("add a partition: %v", err)
			return
		}
	}
}
