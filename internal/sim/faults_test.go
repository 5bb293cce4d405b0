package sim

import (
	"context"
	"math/rand/v2"
	"slices"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/internal/faultfs"
	"thalweg/runtime"
)

// fault is one way to disturb a run. It returns when the disturbance is over, or leaves its end to a goroutine.
type fault struct {
	name string
	fits func(plan) bool
	do   func(w *world, r *rand.Rand)
}

func always(plan) bool      { return true }
func embedded(p plan) bool  { return p.embedded }
func onTheWire(p plan) bool { return !p.embedded }

// fencing tells that processes may come back that have lost their tasks without knowing it. At least once nothing
// fences their writes: those to a changelog go over what their successors have written, and rows get older.
func fencing(p plan) bool {
	return onTheWire(p) && (p.guarantee == runtime.ExactlyOnce || p.program.rows == nil)
}

// downTimeMax is how long a process or the broker is down at most.
const downTimeMax = 4 * time.Second

// zombies is a fault that others come from: a process that has lost its tasks and has not heard of it.
var zombies = &fault{"a process is paused and comes back as a zombie", fencing, func(w *world, r *rand.Rand) {
	h := w.pick(r).host
	h.hold()
	w.later(sessionTimeout+r.N(sessionTimeout), h.flow)
}}

var faults = append([]*fault{
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
		p := w.pick(r)
		w.procs = slices.DeleteFunc(w.procs, func(o *process) bool { return o == p })
		p.stop()
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
	{"the end of a transaction is lost, and the process is cut off", func(p plan) bool {
		return onTheWire(p) && p.guarantee == runtime.ExactlyOnce
	}, func(w *world, r *rand.Rand) {
		h, quiet := w.pick(r).host, transactionTimeout+r.N(5*time.Second)
		h.loseWith(kmsg.EndTxn, func() {
			h.setCutOff(true)
			w.later(quiet, func() { h.setCutOff(false) })
		})
	}},
	zombies,
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
	{"partitions are added", func(p plan) bool { return p.program.grows }, func(w *world, _ *rand.Rand) { w.grow() }},
}, losses()...)

// losses are faults of the network that hit one request of a kind.
func losses() (all []*fault) {
	exactly := func(p plan) bool { return onTheWire(p) && p.guarantee == runtime.ExactlyOnce }
	least := func(p plan) bool { return onTheWire(p) && p.guarantee == runtime.AtLeastOnce }
	for _, of := range []struct {
		key     kmsg.Key
		fits    func(plan) bool
		restart bool // such requests are sent by a process that starts or stops
	}{
		{kmsg.Produce, onTheWire, false},
		{kmsg.Fetch, onTheWire, false},
		{kmsg.Heartbeat, onTheWire, false},
		{kmsg.OffsetCommit, least, false},
		{kmsg.TxnOffsetCommit, exactly, false},
		{kmsg.EndTxn, exactly, false},
		{kmsg.InitProducerID, exactly, true},
		{kmsg.JoinGroup, onTheWire, true},
		{kmsg.SyncGroup, onTheWire, true},
		{kmsg.LeaveGroup, onTheWire, true},
		{kmsg.OffsetFetch, onTheWire, true},
		{kmsg.FindCoordinator, onTheWire, true},
		{kmsg.ListOffsets, onTheWire, true},
		{kmsg.Metadata, onTheWire, true},
		{kmsg.ApiVersions, onTheWire, true},
	} {
		for what, answer := range map[string]bool{"a request is lost: ": false, "a response is lost: ": true} {
			all = append(all, &fault{what + kmsg.NameForKey(of.key.Int16()), of.fits, func(w *world, r *rand.Rand) {
				p := w.pick(r)
				p.host.loseNext(of.key, answer)
				if of.restart {
					p.stop()
					p.armed = func(h *host) { h.loseNext(of.key, answer) }
					p.start()
				}
			}})
		}
	}
	slices.SortFunc(all, func(a, b *fault) int { // the order of a map is random
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return all
}

// disturb lets the faults of the plan happen.
func (w *world) disturb() {
	for _, e := range w.plan.events {
		if wait := e.at - time.Since(w.trace.start); wait > 0 {
			pass(wait)
		}
		if w.failed.Load() {
			return
		}
		w.trace.add("world", "fault: %s", e.fault.name)
		w.happened("fault: " + e.fault.name)
		e.fault.do(w, e.r)
	}
	if wait := w.plan.length - time.Since(w.trace.start); wait > 0 {
		pass(wait)
	}
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
	resp, err := kadm.NewClient(cl).UpdatePartitions(ctx, int(w.plan.finalPartitions), w.plan.program.inputs...)
	if err == nil {
		err = resp.Error()
	}
	if err != nil {
		w.fail("add a partition: %v", err)
	}
}
