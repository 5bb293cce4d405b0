package align

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/topology"
)

// The model has the true order of all that happens: tasks that read, write, commit and abort, markers that are late,
// and cuts between the steps of which anything may happen. When a task goes on to the time of a cut, no record that was
// there when the cut began and is still to come may be older.

const modelDelay = 25 // by how much the tasks of the first level hold records back

type modelRecord struct {
	ts       int64
	from     Partition
	offset   int64 // there
	appended int   // when
}

type modelTxn struct{ committed, aborted bool }

// modelLog is a partition. Readers see what lies below the first entry whose transaction has no marker here.
type modelLog struct {
	entries []modelEntry
	marked  map[*modelTxn]bool
}

type modelEntry struct {
	modelRecord
	txn *modelTxn // nil: of no transaction
}

func (l *modelLog) stable() int64 {
	for i, e := range l.entries {
		if e.txn != nil && !l.marked[e.txn] {
			return int64(i)
		}
	}
	return int64(len(l.entries))
}

type modelTask struct {
	in     Partition
	out    string // empty: it is the last
	aligns bool
	at     modelState
	stored modelState
	line   Line
	cuts   []*modelCut // of the goals
	txn    *modelTxn
}

// modelState is what a commit fixes.
type modelState struct {
	next, time, aligned int64
	seen                int64
	held                []modelRecord
	passed              map[modelRecord]bool
}

func (s modelState) clone() modelState {
	s.held = append([]modelRecord(nil), s.held...)
	passed := make(map[modelRecord]bool, len(s.passed))
	for r := range s.passed {
		passed[r] = true
	}
	s.passed = passed
	return s
}

// modelCut is what was true while a cut was taken.
type modelCut struct {
	began     int
	exhausted map[Partition]bool        // sources
	held      map[modelRecord]Partition // by tasks that wait for a record of their own
}

type model struct {
	t      *testing.T
	r      *rand.Rand
	plan   *Plan
	logs   map[Partition]*modelLog
	tasks  []*modelTask
	step   int
	rest   []modelRecord // of sources, not appended yet
	taking *modelCut
	late   map[modelRecord]bool // rightly so, at some task
	ends   map[Partition]int64
	quiet  bool // nothing happens beside
	moved  int  // how often a task's time went on
}

func modelPlan(t *testing.T, levels int, n int32) *Plan {
	b := topology.NewBuilder()
	h := b.Source("source", topology.NewTopic[string, string]("in"))
	for i := range levels {
		h = h.Repartition([]string{"one", "two", "three"}[i])
	}
	h.Sink("sink", topology.NewTopic[string, string]("out"))
	topo, err := b.Build()
	require.NoError(t, err)
	return New(topo.Subtopologies(), "app", func(string) int32 { return n })
}

func newModel(t *testing.T, r *rand.Rand, levels int, live bool) *model {
	n := int32(2 + r.IntN(2))
	m := &model{t: t, r: r, plan: modelPlan(t, levels, n), logs: map[Partition]*modelLog{}, late: map[modelRecord]bool{}}
	topics := []string{"in", "app-one-repartition", "app-two-repartition", "app-three-repartition"}[:levels+1]
	for i := range levels {
		m.plan.from[topics[i+1]][0].DelayMillis = modelDelay
	}
	for i := range m.plan.readers {
		m.plan.readers[i].upstream = m.plan.from[m.plan.readers[i].Repartitions[0]]
	}
	for level, topic := range topics {
		for p := range n {
			tp := Partition{topic, p}
			m.logs[tp] = &modelLog{marked: map[*modelTxn]bool{}}
			task := &modelTask{in: tp, aligns: level > 0}
			if level < levels {
				task.out = topics[level+1]
			}
			task.at = modelState{time: Unknown, aligned: Unknown, seen: Unknown, passed: map[modelRecord]bool{}}
			task.stored = task.at.clone()
			m.tasks = append(m.tasks, task)
		}
	}
	pace := make([]int64, n)
	for p := range pace {
		pace[p] = 1 + r.Int64N(20)
	}
	clock := make([]int64, n)
	for range 20 + r.IntN(60) {
		p := r.Int64N(int64(n))
		clock[p] += r.Int64N(pace[p] + 1)
		m.rest = append(m.rest, modelRecord{ts: clock[p], from: Partition{"in", int32(p)}})
	}
	if !live {
		for len(m.rest) > 0 {
			m.append()
		}
	}
	return m
}

// append adds the next record of a source.
func (m *model) append() {
	r := m.rest[0]
	m.rest = m.rest[1:]
	l := m.logs[r.from]
	r.offset, r.appended = int64(len(l.entries)), m.step
	l.entries = append(l.entries, modelEntry{modelRecord: r})
}

// act does something.
func (m *model) act() {
	m.step++
	task := m.tasks[m.r.IntN(len(m.tasks))]
	switch k := m.r.IntN(20); {
	case k == 0 && len(m.rest) > 0:
		m.append()
	case k < 12:
		m.process(task)
	case k < 16:
		m.commit(task)
	case k == 16:
		m.abort(task)
	default: // a marker arrives
		for _, l := range m.logs {
			for _, e := range l.entries {
				if e.txn != nil && (e.txn.committed || e.txn.aborted) && !l.marked[e.txn] && m.r.IntN(3) == 0 {
					l.marked[e.txn] = true
				}
			}
		}
	}
}

func (m *model) process(t *modelTask) {
	l := m.logs[t.in]
	for range 1 + m.r.IntN(4) {
		m.reach(t)
		if t.at.next >= l.stable() {
			return
		}
		e := l.entries[t.at.next]
		t.at.next++
		if e.txn != nil && e.txn.aborted {
			continue
		}
		if t.aligns && e.ts < t.at.aligned {
			m.late[e.modelRecord] = true
		}
		t.at.time, t.at.seen = max(t.at.time, e.ts), max(t.at.seen, e.ts)
		t.at.passed[e.modelRecord] = true
		t.at.held = append(t.at.held, e.modelRecord) // for a while
		m.release(t)
	}
	m.reach(t)
}

// now is the time of the task's operators.
func (t *modelTask) now() int64 {
	if t.aligns {
		return min(t.at.seen, t.at.aligned)
	}
	return t.at.seen
}

func (m *model) release(t *modelTask) {
	kept := t.at.held[:0]
	for _, r := range t.at.held {
		if r.ts+modelDelay <= t.now() {
			m.write(t, r)
		} else {
			kept = append(kept, r)
		}
	}
	t.at.held = kept
}

func (m *model) write(t *modelTask, r modelRecord) {
	if t.out == "" {
		return
	}
	if t.txn == nil {
		t.txn = &modelTxn{}
	}
	l := m.logs[Partition{t.out, m.partition(r)}]
	l.entries = append(l.entries, modelEntry{r, t.txn})
}

// partition is where a record goes, in all repartitions.
func (m *model) partition(r modelRecord) int32 {
	return int32((r.offset*7 + int64(r.from.Number) + r.ts) % int64(m.plan.partitions["in"]))
}

func (m *model) commit(t *modelTask) {
	t.stored = t.at.clone()
	if t.txn != nil {
		t.txn.committed, t.txn = true, nil
	}
}

func (m *model) abort(t *modelTask) {
	t.at = t.stored.clone()
	if t.txn != nil {
		t.txn.aborted, t.txn = true, nil
	}
}

// reach goes on to the times of goals, and checks what they promise.
func (m *model) reach(t *modelTask) {
	for !t.line.Empty() && t.at.next >= t.line.First().Ends[0] {
		g, cut := *t.line.First(), t.cuts[0]
		t.line.Drop()
		t.cuts = t.cuts[1:]
		if g.Time <= t.at.aligned {
			continue
		}
		m.moved++
		for _, source := range m.tasks {
			if source.in.Topic != "in" {
				continue
			}
			for _, e := range m.logs[source.in].entries {
				r := e.modelRecord
				if t.at.passed[r] || m.partition(r) != t.in.Number || m.isLate(r) {
					continue
				}
				by, held := cut.held[r]
				if e.appended >= cut.began || held && (by.Topic != "in" || cut.exhausted[by]) {
					// It was not there, or a task holds it that waits for records of its own.
					if r.ts < g.Time {
						m.late[r] = true
					}
					continue
				}
				if g.Exhausted || t.in.Topic == "app-one-repartition" {
					require.False(m.t, cut.exhausted[r.from], "%v: %+v is of an input that was read", t.in, r)
				}
				require.GreaterOrEqual(m.t, r.ts, g.Time, "%v: %+v is still to come", t.in, r)
			}
		}
		t.at.aligned = g.Time
		m.release(t)
	}
}

// isLate tells that a task that a record comes to has gone on beyond it, as reach has found right.
func (m *model) isLate(r modelRecord) bool {
	for _, t := range m.tasks {
		if t.aligns && t.in.Number == m.partition(r) && !t.at.passed[r] && r.ts < t.at.aligned {
			m.late[r] = true
		}
	}
	return m.late[r]
}

// cut takes a cut while other things happen, and gives it to some of the tasks.
func (m *model) cut() {
	m.taking = &modelCut{began: m.step, exhausted: map[Partition]bool{}, held: map[modelRecord]Partition{}}
	taken, err := m.plan.Take(m, nil)
	require.NoError(m.t, err)
	for _, t := range m.tasks {
		if r := m.plan.Reader(m.sub(t)); r != nil && m.r.IntN(4) > 0 {
			before := len(t.line.goals)
			t.line.Add(r.Goal(taken.Cuts[r.Sub], t.in.Number))
			switch len(t.line.goals) {
			case before:
				t.cuts[before-1] = m.taking
			case before + 1:
				t.cuts = append(t.cuts, m.taking)
			default:
				require.Less(m.t, len(t.line.goals), before)
				kept := t.cuts[:0]
				for i := 0; i < lineMost; i += 2 {
					kept = append(kept, t.cuts[i])
				}
				t.cuts = append(kept, m.taking)
			}
		}
	}
}

func (m *model) sub(t *modelTask) int {
	for i := range m.plan.readers {
		if m.plan.readers[i].Repartitions[0] == t.in.Topic {
			return m.plan.readers[i].Sub
		}
	}
	return -1
}

// between lets things happen between two requests.
func (m *model) between() {
	for range m.r.IntN(6) {
		if !m.quiet {
			m.act()
		}
	}
}

func (m *model) Ends(tps []Partition) (map[Partition]int64, error) {
	ends := map[Partition]int64{}
	for _, tp := range tps {
		ends[tp] = m.logs[tp].stable()
	}
	m.between()
	for _, tp := range tps {
		m.taking.exhausted[tp] = ends[tp] == 0 // until it is known to be committed
	}
	m.ends = ends
	return ends, nil
}

func (m *model) Begins([]Partition) (map[Partition]int64, error) { return map[Partition]int64{}, nil }

func (m *model) Committed(tps []Partition) (map[Partition]Committed, error) {
	all := map[Partition]Committed{}
	for _, t := range m.tasks {
		if !contains(tps, t.in) {
			continue
		}
		c := Committed{Next: t.stored.next, Time: t.stored.time, Aligned: Unknown}
		if t.aligns {
			c.Aligned, c.Open = t.stored.aligned, t.stored.seen > t.stored.aligned
		}
		if c.Next == 0 {
			c.Next = -1
		}
		all[t.in] = c
		if t.in.Topic == "in" {
			m.taking.exhausted[t.in] = t.stored.next >= m.ends[t.in]
		}
		if !c.Open {
			for _, r := range t.stored.held {
				m.taking.held[r] = t.in
			}
		}
	}
	m.between()
	return all, nil
}

func (m *model) HighWatermarks(tps []Partition) (map[Partition]int64, error) {
	ends := map[Partition]int64{}
	for _, tp := range tps {
		ends[tp] = int64(len(m.logs[tp].entries))
	}
	m.between()
	return ends, nil
}

func contains(tps []Partition, tp Partition) bool {
	for _, o := range tps {
		if o == tp {
			return true
		}
	}
	return false
}

func TestNoRecordOlderThanACutIsStillToCome(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	moved := 0
	for i := range 240 {
		r := rand.New(rand.NewPCG(seed, uint64(i)))
		m := newModel(t, r, 1+i%3, i%2 == 0)
		for range 100 {
			m.between()
			m.cut()
		}
		moved += m.moved
		m.finish()
	}
	require.Greater(t, moved, 500)
}

// finish lets all end: the time comes to where the records are.
func (m *model) finish() {
	for len(m.rest) > 0 {
		m.append()
	}
	for range 6 {
		for _, t := range m.tasks {
			for t.at.next < m.logs[t.in].stable() {
				m.process(t)
			}
			m.reach(t)
			m.commit(t)
			for _, l := range m.logs {
				for _, e := range l.entries {
					if e.txn != nil && (e.txn.committed || e.txn.aborted) {
						l.marked[e.txn] = true
					}
				}
			}
		}
		m.quiet = true
		m.cut()
		m.cut()
		m.quiet = false
	}
	highest := Unknown
	for _, t := range m.tasks {
		if t.in.Topic == "in" {
			highest = max(highest, t.at.time)
		} else {
			require.GreaterOrEqual(m.t, t.at.aligned, min(highest, t.at.seen), t.in)
		}
	}
}
