package runtime

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// jobsOf makes tasks of sub-topologies, some of each.
func jobsOf(counts ...int) (all []*job) {
	for sub, n := range counts {
		for p := range n {
			all = append(all, &job{id: TaskID{sub, int32(p)}})
		}
	}
	return all
}

// turnsOf takes out the next tasks, each of which goes back with a later record.
func turnsOf(s *schedule, n int, after func(j *job) int64) (ids []string) {
	for range n {
		j, _ := s.next()
		ids = append(ids, j.id.String())
		s.put(j, after(j))
	}
	return ids
}

func TestTheOldestRecordOfASubtopologyGoesFirst(t *testing.T) {
	var s schedule
	jobs := jobsOf(3)
	at := map[*job]int64{jobs[0]: 30, jobs[1]: 10, jobs[2]: 20}
	for _, j := range jobs {
		s.put(j, at[j])
	}
	later := func(j *job) int64 { at[j] += 15; return at[j] }
	require.Equal(t, []string{"0_1", "0_2", "0_1", "0_0", "0_2", "0_1"}, turnsOf(&s, 6, later))
	_, others := s.next()
	require.True(t, others)
	s.next()
	_, others = s.next()
	require.False(t, others, "it was the last one")
	j, _ := s.next()
	require.Nil(t, j)
}

func TestSubtopologiesTakeTurns(t *testing.T) {
	var s schedule
	for _, j := range jobsOf(1, 0, 3, 1) {
		s.put(j, int64(-100*j.id.Subtopology)) // whatever the times of their records
	}
	same := func(j *job) int64 { return int64(-100 * j.id.Subtopology) }
	require.Equal(t, []string{"2_0", "3_0", "0_0", "2_1", "3_0", "0_0", "2_2"}, turnsOf(&s, 7, same))
}

// A task whose records are newer than all others of its sub-topology is not left behind for ever.
func TestEachEighthTurnGoesToTheTaskThatHasWaitedLongest(t *testing.T) {
	var s schedule
	const tasks = 10
	for _, j := range jobsOf(tasks) {
		s.put(j, int64(j.id.Partition))
	}
	had := map[string]int{}
	for range waitingTurn * tasks {
		for _, id := range turnsOf(&s, 1, func(j *job) int64 { return int64(j.id.Partition) }) {
			had[id]++
		}
	}
	require.Len(t, had, tasks)
	require.GreaterOrEqual(t, had["0_0"], waitingTurn*tasks*(waitingTurn-1)/waitingTurn)
}

// The schedule says the same as one that looks at all its tasks each time.
func TestScheduleAgainstAListOfAll(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var s schedule
	jobs, list := jobsOf(7, 3, 5), []*job(nil)
	next, since := map[*job]int64{}, map[*job]int{}
	last, count := 0, 0
	expected := func() *job {
		if count++; count%waitingTurn == 0 {
			return slices.MinFunc(list, func(a, b *job) int { return since[a] - since[b] })
		}
		for i := range 3 {
			sub := (last + 1 + i) % 3
			of := slices.DeleteFunc(slices.Clone(list), func(j *job) bool { return j.id.Subtopology != sub })
			if len(of) > 0 {
				return slices.MinFunc(of, func(a, b *job) int {
					if next[a] != next[b] {
						return int(next[a] - next[b])
					}
					return since[a] - since[b]
				})
			}
		}
		return nil
	}
	remove := func(j *job) { list = slices.DeleteFunc(list, func(o *job) bool { return o == j }) }
	for step := range 20_000 {
		j := jobs[r.IntN(len(jobs))]
		switch r.IntN(4) {
		case 0, 1:
			at := int64(r.IntN(20))
			if !slices.Contains(list, j) {
				list, since[j] = append(list, j), step
			}
			next[j] = at
			s.put(j, at)
		case 2:
			if r.IntN(3) == 0 {
				remove(j)
				s.drop(j)
			}
		default:
			if len(list) == 0 {
				got, _ := s.next()
				require.Nil(t, got)
				continue
			}
			want := expected()
			got, _ := s.next()
			require.Equal(t, want.id, got.id, "step %d", step)
			last = got.id.Subtopology
			remove(got)
		}
		require.Equal(t, len(list), s.count)
	}
}

func TestAlarms(t *testing.T) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	var a alarms
	jobs, at := jobsOf(20), map[*job]int64{}
	for range 5000 {
		j := jobs[r.IntN(len(jobs))]
		if r.IntN(3) == 0 {
			delete(at, j)
			a.set(j, never)
		} else {
			at[j] = r.Int64N(50)
			a.set(j, at[j])
		}
		require.Len(t, a, len(at))
		if len(at) > 0 {
			least := int64(never)
			for _, t := range at {
				least = min(least, t)
			}
			require.Equal(t, least, a[0].alarmAt)
		}
	}
}
