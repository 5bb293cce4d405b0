package coord

import (
	"container/heap"
	"time"
)

// Timers are the deadlines of a machine, by key. Pushing a deadline further out costs one map write and nothing else,
// which is what heartbeats do all day; the heap learns of it when the earlier time comes.
type Timers[K comparable] struct {
	at    map[K]time.Time
	queue timerQueue[K]
}

// Set gives key a deadline, in place of the one that it may have.
func (t *Timers[K]) Set(key K, at time.Time) {
	if t.at == nil {
		t.at = make(map[K]time.Time)
	}
	before, ok := t.at[key]
	t.at[key] = at
	if !ok || at.Before(before) {
		heap.Push(&t.queue, timer[K]{at, key})
	}
}

// Sooner is Set, unless key has an earlier deadline already.
func (t *Timers[K]) Sooner(key K, at time.Time) {
	if before, ok := t.at[key]; !ok || at.Before(before) {
		t.Set(key, at)
	}
}

// Stop removes the deadline of key.
func (t *Timers[K]) Stop(key K) { delete(t.at, key) }

// Deadline returns the earliest deadline, or the zero time.
func (t *Timers[K]) Deadline() time.Time {
	t.dropStaleHead()
	if len(t.queue) == 0 {
		return time.Time{}
	}
	return t.queue[0].at
}

// Pop removes and returns one key whose deadline is at now or before.
func (t *Timers[K]) Pop(now time.Time) (key K, ok bool) {
	t.dropStaleHead()
	if len(t.queue) == 0 || t.queue[0].at.After(now) {
		return key, false
	}
	key = heap.Pop(&t.queue).(timer[K]).key
	delete(t.at, key)
	return key, true
}

// dropStaleHead makes the head of the queue a true deadline: entries of stopped keys go, those of moved keys sink.
//
// Invariant: every key of at has an entry in the queue whose time is not after its deadline.
func (t *Timers[K]) dropStaleHead() {
	for len(t.queue) > 0 {
		head := &t.queue[0]
		at, ok := t.at[head.key]
		switch {
		case !ok || at.Before(head.at): // stopped, or another entry is earlier
			heap.Pop(&t.queue)
		case at.After(head.at):
			head.at = at
			heap.Fix(&t.queue, 0)
		default:
			return
		}
	}
}

type timer[K comparable] struct {
	at  time.Time
	key K
}

type timerQueue[K comparable] []timer[K]

func (q timerQueue[K]) Len() int           { return len(q) }
func (q timerQueue[K]) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q timerQueue[K]) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *timerQueue[K]) Push(x any)        { *q = append(*q, x.(timer[K])) }

func (q *timerQueue[K]) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}
