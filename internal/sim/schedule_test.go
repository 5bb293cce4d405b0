package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"thalweg/runtime"
)

// plan is what a seed fixes.
type plan struct {
	seed            uint64
	program         *program
	guarantee       runtime.Guarantee
	embedded        bool
	partitions      int32
	finalPartitions int32
	processes       int
	workers         int
	commitEvery     time.Duration
	checkpointEvery time.Duration
	purgeEvery      time.Duration
	standbys        int
	warmupsMax      int
	acceptableLag   int64
	probeInterval   time.Duration
	zones           int // 0: processes have no tags
	batches         int
	length          time.Duration // of the disturbances
	events          []event
}

// event is a fault and when it happens. What is random about it comes from its own source.
type event struct {
	at    time.Duration
	fault *fault
	r     *rand.Rand
}

func (p plan) String() string {
	names := []string{}
	for _, e := range p.events {
		names = append(names, fmt.Sprintf("%v %s", e.at.Round(time.Millisecond), e.fault.name))
	}
	return fmt.Sprintf("%s, %v, embedded %v, %d processes of %d workers, %d partitions, %d standbys, %d warm-ups to a "+
		"lag of %d, a commit each %v: %v", p.program.name, p.guarantee, p.embedded, p.processes, p.workers, p.partitions,
		p.standbys, p.warmupsMax, p.acceptableLag, p.commitEvery, names)
}

// planCopies says which copies of state processes keep. Some plans want them so near that tasks wait before they move.
func (p *plan) planCopies(r *rand.Rand) {
	p.standbys, p.warmupsMax, p.probeInterval = r.IntN(3), 1+r.IntN(4), time.Second+r.N(20*time.Second)
	p.acceptableLag = []int64{1, 10, 100, 10_000}[r.IntN(4)]
	if r.IntN(4) == 0 {
		p.warmupsMax = -1
	}
	p.zones = r.IntN(4)
}

func planned(seed uint64) plan {
	r := rand.New(rand.NewPCG(seed, 1))
	p := plan{
		seed: seed, program: programs[r.IntN(len(programs))], partitions: 1 + r.Int32N(3), processes: 1 + r.IntN(3),
		workers: 1 + r.IntN(2), commitEvery: 50*time.Millisecond + r.N(400*time.Millisecond),
		checkpointEvery: 100*time.Millisecond + r.N(2*time.Second), purgeEvery: 500*time.Millisecond + r.N(4*time.Second),
		batches: 60, length: 25*time.Second + r.N(15*time.Second), embedded: r.IntN(6) == 0,
	}
	if r.IntN(4) == 0 {
		p.guarantee = runtime.AtLeastOnce
	}
	if p.embedded {
		p.processes = 1
	}
	p.finalPartitions = p.partitions
	p.planCopies(rand.New(rand.NewPCG(seed, 2)))
	if *calm {
		return p
	}
	var kinds []*fault
	for _, f := range faults {
		if f.fits(p) {
			kinds = append(kinds, slices.Repeat([]*fault{f}, max(f.weight, 1))...)
		}
	}
	for range 3 + r.IntN(6) {
		p.events = append(p.events, event{
			2*time.Second + r.N(p.length-2*time.Second), kinds[r.IntN(len(kinds))],
			rand.New(rand.NewPCG(r.Uint64(), r.Uint64())),
		})
	}
	slices.SortFunc(p.events, func(a, b event) int { return int(a.at - b.at) })
	return p
}
