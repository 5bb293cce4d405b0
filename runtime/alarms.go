package runtime

import (
	"container/heap"
	"math"
)

// never is a time of the wall clock that does not come.
const never = math.MaxInt64

// alarms is a heap of tasks by the time at which they are to be called.
type alarms []*job

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(x, y int) bool { return a[x].alarmAt < a[y].alarmAt }

func (a alarms) Swap(x, y int) {
	a[x], a[y] = a[y], a[x]
	a[x].alarm, a[y].alarm = x+1, y+1
}

// Push implements [heap.Interface].
func (a *alarms) Push(j any) {
	*a = append(*a, j.(*job))
	(*a)[len(*a)-1].alarm = len(*a)
}

// Pop implements [heap.Interface].
func (a *alarms) Pop() any {
	n := len(*a) - 1
	j := (*a)[n]
	(*a)[n] = nil
	*a = (*a)[:n]
	j.alarm = 0
	return j
}

// set notes when a task is to be called; never takes it out.
func (a *alarms) set(j *job, at int64) {
	switch {
	case j.alarm == 0 && at == never:
	case j.alarm == 0:
		j.alarmAt = at
		heap.Push(a, j)
	case at == never:
		heap.Remove(a, j.alarm-1)
	case j.alarmAt != at:
		j.alarmAt = at
		heap.Fix(a, j.alarm-1)
	}
}
