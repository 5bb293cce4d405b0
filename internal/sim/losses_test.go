package sim

import (
	"math/rand/v2"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// lossesOfRequests are the kinds of requests that an application sends.
var lossesOfRequests = []struct {
	key    kmsg.Key
	fits   func(plan) bool
	when   moment
	weight int // of those that few plans fit
}{
	{kmsg.Produce, onTheWire, atWork, 1},
	{kmsg.Fetch, onTheWire, atWork, 1},
	{kmsg.Heartbeat, onTheWire, atWork, 1},
	{kmsg.OffsetCommit, atLeastOnce, atWork, 3},
	{kmsg.TxnOffsetCommit, exactlyOnce, atWork, 1},
	{kmsg.EndTxn, exactlyOnce, atWork, 1},
	{kmsg.DeleteRecords, func(p plan) bool { return onTheWire(p) && p.program.purges }, atWork, 10},
	{kmsg.InitProducerID, exactlyOnce, atStart, 1},
	{kmsg.JoinGroup, onTheWire, atStart, 1},
	{kmsg.SyncGroup, onTheWire, atStart, 1},
	{kmsg.LeaveGroup, onTheWire, atStart, 1},
	{kmsg.OffsetFetch, onTheWire, atStart, 1},
	{kmsg.FindCoordinator, onTheWire, atStart, 1},
	{kmsg.ListOffsets, onTheWire, atStart, 1},
	{kmsg.Metadata, onTheWire, atStart, 1},
	{kmsg.ApiVersions, onTheWire, atStart, 1},
	{kmsg.DescribeConfigs, onTheWire, atStart, 1},
	{kmsg.DescribeGroups, onTheWire, atStart, 1},
	{kmsg.CreateTopics, onTheWire, atFirstStart, 1},
}

// moment is when requests of a kind are sent.
type moment uint8

const (
	atWork moment = iota
	seldom
	atStart      // or when a process stops
	atFirstStart // of the application
)

// simpleFault is a fault of a process, the broker or a disk.
type simpleFault struct {
	name string
	fits func(plan) bool
	do   func(w *world, r *rand.Rand)
}

func simple(of []simpleFault) (all []*fault) {
	for _, f := range of {
		all = append(all, &fault{name: f.name, fits: f.fits, do: f.do})
	}
	return all
}

// losses are faults of the network that hit one request of a kind.
func losses() (all []*fault) {
	for _, of := range lossesOfRequests {
		for _, answer := range []bool{false, true} {
			what := "a request is lost: "
			if answer {
				what = "a response is lost: "
			}
			all = append(all, &fault{
				name: what + kmsg.NameForKey(of.key.Int16()), fits: of.fits, first: of.when == atFirstStart,
				weight: of.weight,
				do: func(w *world, r *rand.Rand) {
					lose := func(h *host) { h.loseNext(of.key, answer) }
					if of.when == atFirstStart {
						w.armed = append(w.armed, lose)
						return
					}
					p := w.pick(r)
					lose(p.host)
					if of.when == atStart {
						p.stop()
						p.armed = append(p.armed, lose)
						p.start()
					}
				},
			})
		}
	}
	return all
}
