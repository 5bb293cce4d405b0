package runtime

import (
	"slices"
	"sync"

	"thalweg/internal/kclient"
)

// roster is what the workers of this process know of the group's assignment. Each worker is a member of the group, and
// learns of a generation at its own time. A partition that moves is given up in one generation and assigned in the
// next.
type roster struct {
	mu          sync.Mutex
	generations []int32                          // by worker, of its last assignment
	assigned    map[kclient.TopicPartition]int   // to which worker
	givenUp     map[kclient.TopicPartition]int32 // in which generation, since when nobody of this process has it
}

// noMember is the generation of a worker that the group has not answered yet.
const noMember = -1

func newRoster(workers int) *roster {
	return &roster{
		generations: slices.Repeat([]int32{noMember}, workers),
		assigned:    map[kclient.TopicPartition]int{}, givenUp: map[kclient.TopicPartition]int32{},
	}
}

// assign notes what a worker was given in a generation.
func (r *roster) assign(worker int, generation int32, tps []kclient.TopicPartition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generations[worker] = generation
	for _, tp := range tps {
		r.assigned[tp] = worker
		delete(r.givenUp, tp)
	}
}

// giveUp notes what a worker gives back in a generation, for the next one.
func (r *roster) giveUp(worker int, generation int32, tps []kclient.TopicPartition) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, tp := range tps {
		if holder, ok := r.assigned[tp]; !ok || holder == worker {
			delete(r.assigned, tp)
			r.givenUp[tp] = generation
		}
	}
}

// lose notes that a worker is no member any more, until it is assigned something again.
func (r *roster) lose(worker int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.generations[worker] = noMember
	for tp, holder := range r.assigned {
		if holder == worker {
			delete(r.assigned, tp)
		}
	}
}

// settled tells that all workers know the same assignment, and that it gives nothing up for another one.
func (r *roster) settled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.agreed() {
		return false
	}
	for _, generation := range r.givenUp {
		if generation >= r.generations[0] {
			return false
		}
	}
	clear(r.givenUp)
	return true
}

// elsewhere tells that the assignment gives a partition to another process.
func (r *roster) elsewhere(tp kclient.TopicPartition) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, here := r.assigned[tp]
	generation, given := r.givenUp[tp]
	return r.agreed() && !here && (!given || generation < r.generations[0])
}

// known tells that the group has answered one of the workers.
func (r *roster) known() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.generations, func(g int32) bool { return g != noMember })
}

// agreed needs the mutex.
func (r *roster) agreed() bool {
	first := r.generations[0]
	return first != noMember && !slices.ContainsFunc(r.generations, func(g int32) bool { return g != first })
}
