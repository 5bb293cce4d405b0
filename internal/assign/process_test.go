package assign

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProcessesRoundTrip(t *testing.T) {
	for _, all := range [][]Process{
		nil,
		{{Name: "a"}},
		{{Name: "a", Endpoint: "h:1", Active: []TaskID{{0, 1}, {2, 0}}}, {Name: "b", Standby: []TaskID{{0, 1}}}},
	} {
		raw := AppendProcesses(nil, all)
		got, err := DecodeProcesses(append(raw, "of a later version"...))
		require.NoError(t, err)
		require.Equal(t, all, got)
		for n := range raw {
			_, err := DecodeProcesses(raw[:n])
			require.Error(t, err, "cut at %d of %d", n, len(raw))
		}
	}
	_, err := DecodeProcesses([]byte{2, 2, 0})
	require.ErrorContains(t, err, "upgrade")
	got, err := DecodeProcesses([]byte{2, 1, 2, 6, 1, 'a', 0, 0, 0, 'x', 4, 1, 'b', 0, 0})
	require.Error(t, err, "the second has no standbys")
	require.Empty(t, got)
	got, err = DecodeProcesses([]byte{2, 1, 1, 6, 1, 'a', 0, 0, 0, 'x'})
	require.NoError(t, err)
	require.Equal(t, []Process{{Name: "a"}}, got, "a later version's field")
}

func TestMembersOfAProcessAreOneProcess(t *testing.T) {
	var all []Process
	for _, m := range []Process{
		{Name: "b", Active: []TaskID{{0, 1}}}, {Name: "a", Active: []TaskID{{0, 0}}},
		{Name: "b", Endpoint: "h:1", Active: []TaskID{{0, 2}}, Standby: []TaskID{{0, 0}}},
	} {
		all = AddTasks(all, m)
	}
	require.Equal(t, []Process{
		{Name: "a", Active: []TaskID{{0, 0}}},
		{Name: "b", Endpoint: "h:1", Active: []TaskID{{0, 1}, {0, 2}}, Standby: []TaskID{{0, 0}}},
	}, all)
}

func TestProcessesOfALargeGroupAreSmall(t *testing.T) {
	var all []Process
	for i := range 5000 {
		id := TaskID{int32(i % 5), int32(i / 5)}
		for copies := range 2 {
			p := Process{Name: fmt.Sprintf("4b3c9f6e-0000-4000-8000-%012d", (i*7+copies)%100), Endpoint: "host.example.com:8080"}
			if copies == 0 {
				p.Active = []TaskID{id}
			} else {
				p.Standby = []TaskID{id}
			}
			all = AddTasks(all, p)
		}
	}
	require.Less(t, len(AppendProcesses(nil, all)), 50_000)
}

func FuzzDecodeProcesses(f *testing.F) {
	f.Add(AppendProcesses(nil, []Process{{Name: "a", Endpoint: "h:1", Active: []TaskID{{0, 1}, {2, 0}}}}))
	f.Fuzz(func(t *testing.T, src []byte) {
		all, err := DecodeProcesses(src)
		if err != nil {
			return
		}
		again, err := DecodeProcesses(AppendProcesses(nil, all))
		require.NoError(t, err)
		for i := range all {
			for _, tasks := range []*[]TaskID{&all[i].Active, &all[i].Standby} {
				slices.SortFunc(*tasks, compareTaskIDs)
				*tasks = slices.Compact(*tasks)
			}
		}
		require.Equal(t, all, again)
	})
}
