package runtime

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// searched is a model of a worker whose broker refuses some records.
type searched struct {
	t            *testing.T
	search       search
	now          time.Time
	jobs         []*job
	left         map[*job][]bool // the records to come, and whether they are refused
	skips        map[*job]bool   // the next record has been found
	dropped      map[*job]int
	transactions int
}

func newSearched(t *testing.T, records ...[]bool) *searched {
	s := &searched{
		t: t, now: time.Now(), left: map[*job][]bool{}, skips: map[*job]bool{}, dropped: map[*job]int{},
	}
	for i, r := range records {
		j := &job{id: TaskID{0, int32(i)}}
		s.jobs = append(s.jobs, j)
		s.left[j] = r
	}
	return s
}

// transaction works as the worker does, and returns whether there was anything to do.
func (s *searched) transaction() bool {
	took := map[*job]int{}
	take := func(j *job, most int) {
		if n := min(most, len(s.left[j])); n > 0 && !s.skips[j] {
			took[j] = n
			s.search.processed(j, n, false)
		}
	}
	skipped := (*job)(nil)
	for j := range s.skips { // the policy's decision has a transaction of its own
		skipped, took[j] = j, 1
		s.search.processed(j, 1, true)
		break
	}
	switch {
	case skipped != nil:
	case !s.search.active():
		for _, j := range s.jobs {
			take(j, stepRecords)
		}
	default:
		for range len(s.search.suspects) + 1 {
			if p := s.search.next(); p != nil {
				take(p.job, p.most)
			} else {
				for _, j := range s.jobs {
					if s.search.of(j) == nil {
						take(j, stepRecords)
					}
				}
			}
			if len(took) > 0 {
				break
			}
		}
	}
	if len(took) == 0 {
		return false
	}
	s.transactions++
	for j, n := range took {
		for _, refused := range s.left[j][:n] {
			if refused && j != skipped {
				found, ok := s.search.narrow(s.now)
				require.True(s.t, ok)
				if found != nil {
					require.True(s.t, s.left[found][0], "it is refused")
					s.skips[found] = true
				}
				return true
			}
		}
	}
	s.search.seal()
	s.search.committed(s.now)
	for j, n := range took {
		s.left[j] = s.left[j][n:]
	}
	if skipped != nil {
		delete(s.skips, skipped)
		s.dropped[skipped]++
	}
	return true
}

func (s *searched) all() {
	for s.transaction() {
		require.Less(s.t, s.transactions, 1_000_000)
	}
}

// refusals are records of which each nth is refused; 0: none.
func refusals(records, nth int) []bool {
	all := make([]bool, records)
	for i := range all {
		all[i] = nth > 0 && (i+1)%nth == 0
	}
	return all
}

func TestSearchFindsWhatIsRefused(t *testing.T) {
	for _, c := range []struct{ records, nth, most int }{
		{10_000, 1, 2 * 10_010}, // one is refused, one has the decision
		{10_000, 2, 4 * 5_010},
		{10_000, 100, 40 * 110},
		{10_000, 5_000, 120},
		{1, 1, 4},
		{3, 3, 12},
	} {
		s := newSearched(t, refusals(c.records, c.nth))
		s.all()
		require.Equal(t, c.records/c.nth, s.dropped[s.jobs[0]])
		require.Less(t, s.transactions, c.most, "%d records, each %d. refused", c.records, c.nth)
	}
}

// A task of which everything is refused does not hold the others up, and is not held up by them.
func TestSearchLeavesOthersAlone(t *testing.T) {
	s := newSearched(t, refusals(100_000, 0), refusals(20, 1), refusals(100_000, 0))
	for s.dropped[s.jobs[1]] < 10 {
		require.True(t, s.transaction())
	}
	require.Less(t, s.transactions, 80)
	require.Less(t, len(s.left[s.jobs[0]]), 95_000, "they went on")
	s.all()
	require.Less(t, s.transactions, 250)
	require.Equal(t, map[*job]int{s.jobs[1]: 20}, s.dropped)
}

// Transactions grow until nothing is suspected any more. A task with few records is forgotten after a while.
func TestSearchEnds(t *testing.T) {
	s := newSearched(t, append([]bool{true}, refusals(20_000, 0)...), []bool{true, false, false})
	s.all()
	require.Len(t, s.search.suspects, 1, "the other one had enough records")
	s.now = s.now.Add(2 * suspectFor)
	s.left[s.jobs[0]] = refusals(1, 0)
	s.all()
	require.False(t, s.search.active())

	s = newSearched(t, refusals(5, 1))
	s.transaction()
	require.True(t, s.search.active())
	s.search.forget(s.jobs[0])
	require.False(t, s.search.active(), "the task is closed")
}

func TestSearchOfNoRecord(t *testing.T) {
	var s search
	_, ok := s.narrow(time.Now())
	require.False(t, ok, "a punctuation is refused")
	require.False(t, s.active())
}

func TestSparingLogLines(t *testing.T) {
	var s sparing
	now := time.Now()
	said := func(what string) int64 {
		if n, ok := s.say(what, now); ok {
			return n
		}
		return 0
	}
	require.EqualValues(t, 1, said("a"))
	require.EqualValues(t, 1, said("b"))
	for range 100 {
		require.Zero(t, said("a"))
	}
	now = now.Add(sparingLeast)
	require.EqualValues(t, 102, said("a"), "with all that happened")
	now = now.Add(sparingLeast)
	require.Zero(t, said("a"), "the pauses grow")
	now = now.Add(sparingLeast)
	require.EqualValues(t, 104, said("a"))
	lines := 0
	for range 3600 {
		now = now.Add(time.Second)
		if said("a") > 0 {
			lines++
		}
	}
	require.Less(t, lines, 12)
	now = now.Add(2 * sparingMost)
	require.EqualValues(t, 1, said("a"), "it is news")
	for i := range 10 * sparingKinds {
		said(string(rune('A' + i)))
	}
	require.LessOrEqual(t, len(s.of), sparingKinds)
}
