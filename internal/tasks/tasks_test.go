package tasks

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// world is a process with workers that carry out orders at their own pace, or fail to. It is the naive model: who has a
// task, as the workers see it, and what the group wants.
type world struct {
	t       *testing.T
	seed    uint64
	rng     *rand.Rand
	m       *Set
	now     time.Time
	workers int
	queues  map[int][]Order
	holder  map[ID]int  // a worker that was told to open a task, and has not closed it
	running map[ID]bool // opened
	wanted  map[ID]bool
	lost    map[ID]bool // held, and not to be committed
	kept    map[ID]bool // committed and kept open
	ours    map[ID]bool // revoked, and nobody else's since
	seen    map[string]int
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1000, 0), workers: 2, m: New(2),
		queues: map[int][]Order{}, holder: map[ID]int{}, running: map[ID]bool{}, wanted: map[ID]bool{},
		lost: map[ID]bool{}, kept: map[ID]bool{}, ours: map[ID]bool{}, seen: map[string]int{},
	}
	at := map[ID]State{}
	w.m.Moved = func(id ID, m Move) {
		require.Equal(t, at[id], m.From, "seed %d: task %s", seed, id)
		require.Contains(t, LegalMoves(), m, "seed %d: task %s", seed, id)
		at[id] = m.To
		w.seen[m.String()]++
	}
	return w
}

func task(i int) Task {
	return Task{ID: ID{Subtopology: int32(i % 3), Partition: int32(i / 3)}, Stateful: i%3 != 0}
}

// orders takes what the manager says. No task is ever opened that somebody has.
func (w *world) orders() {
	for _, o := range w.m.Orders(w.now) {
		w.seen[o.Kind.String()]++
		holder, held := w.holder[o.ID]
		if o.Kind == Open {
			require.False(w.t, held, "seed %d: task %s has worker %d, and is opened by %d", w.seed, o.ID, holder, o.Worker)
			require.Less(w.t, o.Worker, w.workers, "seed %d", w.seed)
			require.True(w.t, w.wanted[o.ID], "seed %d: task %s is opened in vain", w.seed, o.ID)
			w.holder[o.ID] = o.Worker
		} else if held {
			require.Equal(w.t, holder, o.Worker, "seed %d", w.seed)
		}
		if o.Kind == Resume && held && w.kept[o.ID] {
			require.True(w.t, w.wanted[o.ID] && w.ours[o.ID], "seed %d: task %s is resumed, and somebody else may have had it",
				w.seed, o.ID)
		}
		w.queues[o.Worker] = append(w.queues[o.Worker], o)
	}
	require.Empty(w.t, w.m.Orders(w.now), "seed %d: orders are given once", w.seed)
}

func (w *world) closed(worker int, id ID, again time.Duration) {
	if at, held := w.holder[id]; !held || at != worker {
		return // an order that has come too late
	}
	delete(w.holder, id)
	delete(w.running, id)
	delete(w.lost, id)
	delete(w.kept, id)
	w.m.Closed(worker, id, w.now.Add(again))
}

// work lets a worker carry out its next order. Some fail.
func (w *world) work(worker int, failures bool) {
	q := w.queues[worker]
	if len(q) == 0 {
		return
	}
	o := q[0]
	w.queues[worker] = q[1:]
	if at, held := w.holder[o.ID]; !held || at != worker {
		return
	}
	switch {
	case o.Kind == Open && failures && w.rng.IntN(3) == 0:
		w.seen["failed"]++
		w.closed(worker, o.ID, time.Duration(w.rng.IntN(3))*time.Second)
	case o.Kind == Open:
		w.running[o.ID] = true
		w.m.Ran(worker, o.ID)
	case o.Kind == Suspend && !w.running[o.ID]: // it was closed meanwhile, and is to be opened again
	case o.Kind == Suspend:
		delete(w.running, o.ID)
		w.kept[o.ID] = true
		w.m.Suspended(worker, o.ID)
	case o.Kind == Resume && !w.kept[o.ID]: // likewise
	case o.Kind == Resume:
		delete(w.kept, o.ID)
		w.running[o.ID] = true
		w.m.Ran(worker, o.ID)
	default:
		if o.Kind == Release && !w.lost[o.ID] {
			w.seen["committed"]++
		}
		w.closed(worker, o.ID, time.Hour) // which counts only for what nobody asked for
	}
}

// change is something that the group or the program does.
func (w *world) change() {
	some := func() (ids []ID) {
		for id := range w.wanted {
			if w.rng.IntN(2) == 0 {
				ids = append(ids, id)
			}
		}
		return ids
	}
	switch w.rng.IntN(7) {
	case 0, 1:
		for range w.rng.IntN(10) {
			t := task(w.rng.IntN(30))
			if !w.wanted[t.ID] && w.m.Held(t.ID) && w.rng.IntN(2) == 0 {
				w.expire(t.ID) // the assignments between are not known
			}
			w.wanted[t.ID] = true
			w.m.Want(t)
		}
	case 2:
		for _, id := range some() {
			delete(w.wanted, id)
			w.ours[id] = true
			w.m.Revoke(id)
		}
	case 3:
		for i := range 30 {
			id := task(i).ID
			w.lost[id] = w.wanted[id] || w.m.Held(id)
			delete(w.ours, id)
			w.m.Lose(id)
		}
		w.wanted = map[ID]bool{}
	case 6: // the assignment is final
		for id := range w.ours {
			if !w.wanted[id] {
				w.expire(id)
			}
		}
	case 4:
		w.workers = 1 + w.rng.IntN(5)
		w.m.SetWorkers(w.workers)
	case 5: // a worker goes back to its last commit, and closes all that it has opened
		worker := w.rng.IntN(w.workers)
		for id, at := range w.holder {
			if at == worker && (w.running[id] || w.kept[id]) {
				w.seen["interrupted"]++
				w.closed(worker, id, 0)
			}
		}
	}
}

func (w *world) expire(id ID) {
	delete(w.ours, id)
	w.m.Expire(id)
}

// settle lets everything be carried out.
func (w *world) settle() {
	for i := range 30 {
		if id := task(i).ID; !w.wanted[id] {
			w.expire(id)
		}
	}
	for range 10_000 {
		w.orders()
		busy := false
		for worker, q := range w.queues {
			if len(q) > 0 {
				busy = true
				w.work(worker, false)
			}
		}
		if busy {
			continue
		}
		next, waits := w.m.Next()
		if !waits {
			return
		}
		w.now = next
	}
	require.Fail(w.t, "it never settles", "seed %d", w.seed)
}

func (w *world) check() {
	require.Len(w.t, w.running, len(w.wanted), "seed %d", w.seed)
	require.Len(w.t, w.holder, len(w.wanted), "seed %d", w.seed)
	stateful, all := make([]int, w.workers), make([]int, w.workers)
	for id := range w.wanted {
		require.True(w.t, w.running[id], "seed %d: task %s", w.seed, id)
		all[w.holder[id]]++
		if id.Subtopology != 0 {
			stateful[w.holder[id]]++
		}
	}
	for _, counts := range [][]int{stateful, all} {
		require.LessOrEqual(w.t, slices.Max(counts)-slices.Min(counts), 1, "seed %d: %v", w.seed, counts)
	}
	require.True(w.t, w.m.Settled(), "seed %d", w.seed)
	require.Len(w.t, w.m.All(), len(w.wanted), "seed %d", w.seed)
}

// TestRandomHistories: whatever the group, the program and failures do, no task ever has two workers; and when they
// stop, each task that is wanted runs, and no other, evenly spread.
func TestRandomHistories(t *testing.T) {
	seen := map[string]int{}
	for range 300 {
		w := newWorld(t, rand.Uint64())
		for range 3 {
			for range 100 {
				switch w.rng.IntN(4) {
				case 0:
					w.change()
				case 1:
					w.now = w.now.Add(time.Duration(w.rng.IntN(1000)) * time.Millisecond)
				default:
					w.work(w.rng.IntN(5), true)
				}
				if w.rng.IntN(2) == 0 {
					w.orders()
				}
				held := false
				for id := range w.holder {
					require.True(t, w.m.IsOpen(id), "seed %d", w.seed)
					require.Equal(t, !w.kept[id], w.m.Held(id) && !w.kept[id], "seed %d", w.seed)
					held = true
				}
				require.False(t, held && len(w.m.All()) == 0)
			}
			w.settle()
			w.check()
		}
		for k, n := range w.seen {
			seen[k] += n
		}
	}
	expected := []string{"open", "suspend", "resume", "release", "drop", "failed", "interrupted", "committed"}
	for _, m := range LegalMoves() {
		expected = append(expected, m.String())
	}
	for _, what := range expected {
		require.NotZero(t, seen[what], what)
	}
}

func opened(m *Set) (ids []ID) {
	for _, o := range m.Orders(time.Time{}) {
		m.Ran(o.Worker, o.ID)
		ids = append(ids, o.ID)
	}
	return ids
}

func TestARevokedTaskIsHeldUntilItIsSuspended(t *testing.T) {
	m := New(1)
	m.Want(task(0), task(1))
	require.False(t, m.Settled())
	require.Len(t, opened(m), 2)
	require.True(t, m.Settled())
	id := task(1).ID
	m.Revoke(id)
	require.Equal(t, []Order{{Suspend, id, 0}}, m.Orders(time.Time{}))
	require.True(t, m.Held(id))
	require.False(t, m.Wanted(id))
	m.Suspended(0, id)
	require.False(t, m.Held(id))
	require.True(t, m.IsOpen(id))
	require.Empty(t, m.Orders(time.Time{}))
	m.Expire(id)
	require.Equal(t, []Order{{Release, id, 0}}, m.Orders(time.Time{}))
	m.Closed(0, id, time.Time{})
	require.False(t, m.IsOpen(id))
	require.True(t, m.Settled())
}

// What comes back is resumed where it was, unless others may have had it, or a worker that has it is to end.
func TestASuspendedTaskComesBack(t *testing.T) {
	m := New(2)
	m.Want(task(3), task(4))
	require.Len(t, opened(m), 2)
	suspend := func() (suspended []Order) {
		for _, id := range []ID{task(3).ID, task(4).ID} {
			m.Revoke(id)
		}
		for _, o := range m.Orders(time.Time{}) {
			require.Equal(t, Suspend, o.Kind)
			m.Suspended(o.Worker, o.ID)
			suspended = append(suspended, o)
		}
		require.Len(t, suspended, 2)
		return suspended
	}
	was := suspend()
	m.Want(task(3), task(4))
	orders := m.Orders(time.Time{})
	for i, o := range orders {
		require.Equal(t, Order{Resume, was[i].ID, was[i].Worker}, o)
		m.Ran(o.Worker, o.ID)
	}
	require.True(t, m.Settled())

	was = suspend()
	m.SetWorkers(1)
	for _, o := range m.Orders(time.Time{}) {
		require.Equal(t, 1, o.Worker)
		require.Equal(t, Release, o.Kind)
		m.Closed(1, o.ID, time.Time{})
	}
	require.False(t, m.Has(1))
	for _, o := range was {
		if o.Worker == 0 {
			m.Expire(o.ID)
			m.Want(Task{ID: o.ID})
			require.Contains(t, m.Orders(time.Time{}), Order{Release, o.ID, 0})
			m.Closed(0, o.ID, time.Time{})
			require.Contains(t, m.Orders(time.Time{}), Order{Open, o.ID, 0})
		}
	}
}

// What is lost while it is released must not be committed, and what comes back while it is closed waits for that.
func TestATaskThatIsLostAndComesBack(t *testing.T) {
	m := New(1)
	id := task(1).ID
	m.Want(task(1))
	opened(m)
	m.Revoke(id)
	require.Len(t, m.Orders(time.Time{}), 1)
	m.Lose(id)
	require.Equal(t, []Order{{Drop, id, 0}}, m.Orders(time.Time{}))
	m.Want(task(1))
	require.Empty(t, m.Orders(time.Time{}))
	m.Closed(0, id, time.Unix(5, 0))
	require.Equal(t, []Order{{Open, id, 0}}, m.Orders(time.Time{}))
}

func TestAFailureIsTriedAgainInTime(t *testing.T) {
	m := New(1)
	id := task(1).ID
	m.Want(task(1))
	require.Len(t, m.Orders(time.Unix(1, 0)), 1)
	m.Closed(0, id, time.Unix(3, 0))
	require.Empty(t, m.Orders(time.Unix(2, 0)))
	at, ok := m.Next()
	require.True(t, ok)
	require.Equal(t, time.Unix(3, 0), at)
	require.Equal(t, []Order{{Open, id, 0}}, m.Orders(at))
	_, ok = m.Next()
	require.False(t, ok)
}

func TestWorkersThatAreTakenAwayReleaseWhatTheyHave(t *testing.T) {
	m := New(3)
	for i := range 9 {
		m.Want(task(i))
	}
	opened(m)
	m.SetWorkers(2)
	orders := m.Orders(time.Time{})
	require.Len(t, orders, 3)
	for _, o := range orders {
		require.Equal(t, Release, o.Kind)
		require.Equal(t, 2, o.Worker)
		require.True(t, m.Has(2))
		m.Closed(2, o.ID, time.Time{})
	}
	require.False(t, m.Has(2))
	require.Len(t, opened(m), 3)
	require.True(t, m.Settled())
}

func TestNothingIsOpenedAfterStop(t *testing.T) {
	m := New(1)
	m.Want(task(0), task(1))
	opened(m)
	m.Stop()
	m.Ended(0)
	require.Empty(t, m.Orders(time.Time{}))
	require.False(t, m.Held(task(0).ID, task(1).ID))
	_, ok := m.Next()
	require.False(t, ok)
}
