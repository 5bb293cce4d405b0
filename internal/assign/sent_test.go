package assign

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSentRoundTrip(t *testing.T) {
	for _, s := range []Sent{
		{},
		{Topology: "0123456789abcdef", ProbeAfter: 10 * time.Minute},
		{Active: []TaskID{{0, 0}}, Warmup: []TaskID{{1, 1}}},
		{
			Active: []TaskID{{0, 0}, {0, 1}, {0, 2}, {0, 9}, {3, 300}}, Standby: []TaskID{{3, 1 << 30}},
			Warmup: []TaskID{{1, 0}, {2, 0}},
		},
	} {
		raw := s.Append(nil)
		got, err := DecodeSent(append(raw, "of a later version"...))
		require.NoError(t, err)
		require.Equal(t, s, got)
		for n := range raw {
			_, err := DecodeSent(raw[:n])
			require.Error(t, err, "cut at %d of %d", n, len(raw))
		}
	}
}

// The bytes of this version.
func TestSentBytes(t *testing.T) {
	s := Sent{Topology: "t", ProbeAfter: time.Second, Active: []TaskID{{5, 0}, {5, 1}, {5, 4}}, Standby: []TaskID{{6, 2}}}
	require.Equal(t, []byte{
		2, 2, 1, 't', 0xe8, 0x07,
		1, 6, 0, 5, 0, 2, 2, 1,
		1, 4, 0, 6, 2, 1,
		0,
	}, s.Append(nil))
}

// A later version may have other kinds of tasks, which are passed over; one that says so can't be read.
func TestSentOfALaterVersion(t *testing.T) {
	raw := []byte{9, 2, 0, 0, 2, 3, 7, 'x', 'y', 4, 0, 6, 2, 1, 0, 0}
	got, err := DecodeSent(raw)
	require.NoError(t, err)
	require.Equal(t, Sent{Active: []TaskID{{6, 2}}}, got)
	raw[1] = 3
	_, err = DecodeSent(raw)
	require.ErrorContains(t, err, "upgrade")
}

func FuzzDecodeSent(f *testing.F) {
	f.Add(Sent{Topology: "t", ProbeAfter: time.Second, Active: []TaskID{{5, 0}, {5, 1}, {5, 4}}}.Append(nil))
	f.Fuzz(func(t *testing.T, src []byte) {
		s, err := DecodeSent(src)
		if err != nil {
			return
		}
		again, err := DecodeSent(s.Append(nil))
		require.NoError(t, err)
		for _, tasks := range []*[]TaskID{&s.Active, &s.Standby, &s.Warmup} {
			slices.SortFunc(*tasks, compareTaskIDs)
			*tasks = slices.Compact(*tasks)
		}
		require.Equal(t, s, again)
	})
}

// Kafka keeps what all members send and are sent in one record.
func TestALargeGroupFitsARecord(t *testing.T) {
	const processes, tasks, topics = 100, 5000, 5
	rng := rand.New(rand.NewPCG(1, 1))
	reports, sent := make([]Report, processes), make([]Sent, processes)
	for i := range reports {
		reports[i] = Report{
			Process: fmt.Sprintf("4b3c9f6e-0000-4000-8000-%012d", i), Weight: 4, Topology: "0123456789abcdef",
			Endpoint: fmt.Sprintf("host-%d.eu-central-1.example.com:8080", i), Tags: map[string]string{"zone": "eu-central-1a"},
		}
		sent[i] = Sent{Topology: "0123456789abcdef", ProbeAfter: 10 * time.Minute}
	}
	for i := range tasks {
		id := TaskID{int32(i % topics), int32(i / topics)}
		for role, at := range rng.Perm(processes)[:4] { // active, two standbys, and what is left of another
			reports[at].Held = append(reports[at].Held, Held{ID: id, Position: 1 << 40})
			switch role {
			case 0:
				sent[at].Active = append(sent[at].Active, id)
			case 1, 2:
				sent[at].Standby = append(sent[at].Standby, id)
			}
		}
	}
	size := 0
	for i := range reports {
		size += len(reports[i].Append(nil)) + len(sent[i].Append(nil))
	}
	t.Logf("%d bytes", size)
	// Beside them are the topics' names, the partitions that are owned, and those that are assigned.
	size += processes*topics*3*100 + 2*tasks*4
	require.Less(t, size, 500_000)
}
