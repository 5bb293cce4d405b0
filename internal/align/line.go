package align

// Goal is a cut as one task has it: where it has to be in its repartitions, in their order.
type Goal struct {
	Ends      []int64
	Time      int64
	Exhausted bool
	At        int64 // when its cut began, in milliseconds of the driver's monotonic clock
}

// lineMost bounds the goals of a task. Of more than that each second one goes: the next one says more.
const lineMost = 32

// Line has the goals that a task has not reached yet, in the order in which they were set.
type Line struct{ goals []Goal }

// Add sets a goal.
func (l *Line) Add(g Goal) {
	if n := len(l.goals); n > 0 && same(l.goals[n-1].Ends, g.Ends) {
		l.goals[n-1] = g
		return
	}
	if len(l.goals) == lineMost {
		kept := l.goals[:0]
		for i := 0; i < lineMost; i += 2 {
			kept = append(kept, l.goals[i])
		}
		clear(l.goals[len(kept):])
		l.goals = kept
	}
	l.goals = append(l.goals, g)
}

// Empty tells that there is no goal.
func (l *Line) Empty() bool { return len(l.goals) == 0 }

// First is the goal that comes first; there must be one.
func (l *Line) First() *Goal { return &l.goals[0] }

// Drop takes out the goal that comes first.
func (l *Line) Drop() {
	l.goals[0] = Goal{}
	l.goals = l.goals[1:]
}

func same(a, b []int64) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return len(a) == len(b)
}
