package runtime

import (
	"slices"
	"sync"
)

// claims keeps two workers of a process from having the same task: they share its state on disk. A worker that lost
// its place in the group may still hold a task that the group has given to its neighbour already.
type claims struct {
	mu      sync.Mutex
	holders map[TaskID]int
	running map[TaskID]bool         // restored, too
	waiting map[int]chan<- struct{} // a worker's waker, if it waits for any
}

func newClaims() *claims {
	return &claims{holders: map[TaskID]int{}, running: map[TaskID]bool{}, waiting: map[int]chan<- struct{}{}}
}

// take claims a task for a worker. Otherwise the worker is woken when some task is released.
func (c *claims) take(id TaskID, worker int, wake chan<- struct{}) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if holder, held := c.holders[id]; held && holder != worker {
		c.waiting[worker] = wake
		return false
	}
	c.holders[id] = worker
	return true
}

func (c *claims) release(id TaskID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.holders, id)
	delete(c.running, id)
	for worker, wake := range c.waiting {
		select {
		case wake <- struct{}{}:
		default:
		}
		delete(c.waiting, worker)
	}
}

// run notes that a task is restored and works.
func (c *claims) run(id TaskID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running[id] = true
}

// of are the partitions of a sub-topology's tasks that work in this process, and of those on the way there.
func (c *claims) of(subtopology int) (running, opening []int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.holders {
		switch {
		case id.Subtopology != subtopology:
		case c.running[id]:
			running = append(running, id.Partition)
		default:
			opening = append(opening, id.Partition)
		}
	}
	slices.Sort(running)
	slices.Sort(opening)
	return running, opening
}
