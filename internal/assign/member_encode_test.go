package assign

import (
	"encoding/hex"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReportRoundTrip(t *testing.T) {
	for _, r := range []Report{
		{},
		{Process: "p", Weight: 4},
		{Process: "a-process", Weight: 1, Held: []Held{
			{ID: TaskID{0, 0}}, {ID: TaskID{7, 1}, Position: 9, Known: true},
			{ID: TaskID{7, 300}, Position: 1 << 40, Lag: 1 << 35, Known: true},
		}},
		{Process: "p", Topology: "what it is", Endpoint: "h:1", Tags: map[string]string{"zone": "a", "rack": ""}},
	} {
		raw := r.Append(nil)
		r.Version = 3
		got, err := DecodeReport(append(raw, "of a later version"...))
		require.NoError(t, err)
		require.Equal(t, r, got)
		require.True(t, got.NamesTasks())
		for n := range raw {
			_, err := DecodeReport(raw[:n])
			require.Error(t, err, "cut at %d of %d", n, len(raw))
		}
	}
}

// What version 1 wrote, with a topology and without. It reads what this version writes, up to there.
func TestReportOfTheFirstVersion(t *testing.T) {
	want := Report{
		Version: 1, Process: "a-process", Weight: 1, Topology: "0123456789abcdef",
		Held: []Held{{ID: TaskID{0, 0}}, {ID: TaskID{7, 300}, Position: 1 << 40}},
	}
	raw, err := hex.DecodeString("0101" + "09612d70726f63657373" + "01" + "02" + "000000" + "07ac02808080808020" +
		"1030313233343536373839616263646566")
	require.NoError(t, err)
	got, err := DecodeReport(raw)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.False(t, got.NamesTasks())
	for n := range raw {
		got, err := DecodeReport(raw[:n])
		if n == len(raw)-len(want.Topology)-1 { // all that the first builds write
			require.NoError(t, err)
			require.Empty(t, got.Topology)
			continue
		}
		require.Error(t, err, "cut at %d of %d", n, len(raw))
	}
	now := want
	now.Endpoint, now.Tags = "h:1", map[string]string{"zone": "a"}
	require.Equal(t, raw[1:], now.Append(nil)[1:len(raw)], "behind the version")
}

// What version 2 wrote. It reads what this version writes, up to there.
func TestReportOfTheSecondVersion(t *testing.T) {
	want := Report{
		Version: 2, Process: "p", Weight: 1, Held: []Held{{ID: TaskID{1, 2}, Position: 3}}, Topology: "t", Endpoint: "h:1",
		Tags: map[string]string{"zone": "a"},
	}
	raw, err := hex.DecodeString("0201" + "0170" + "01" + "01" + "010203" + "0174" + "03683a31" +
		"01" + "047a6f6e65" + "0161")
	require.NoError(t, err)
	got, err := DecodeReport(raw)
	require.NoError(t, err)
	require.Equal(t, want, got)
	require.True(t, got.NamesTasks())
	now := want
	now.Held = []Held{{ID: TaskID{1, 2}, Position: 3, Lag: 4, Known: true}}
	written := now.Append(nil)
	require.Equal(t, raw[1:], written[1:len(raw)], "behind the version")
	require.Equal(t, []byte{5}, written[len(raw):])
}

func TestReportOfALaterVersion(t *testing.T) {
	raw := Report{Process: "p"}.Append(nil)
	raw[0] = 9
	_, err := DecodeReport(raw)
	require.NoError(t, err, "version 9 says that version 3 can read it")
	raw[1] = 4
	_, err = DecodeReport(raw)
	require.ErrorContains(t, err, "upgrade")
}

func FuzzDecodeReport(f *testing.F) {
	f.Add(Report{Process: "p", Weight: 1, Held: []Held{{ID: TaskID{1, 2}, Position: 3}}}.Append(nil))
	f.Add(Report{Process: "p", Held: []Held{{ID: TaskID{1, 2}, Lag: 4, Known: true}}}.Append(nil))
	f.Add(Report{Process: "p", Endpoint: "h", Tags: map[string]string{"zone": "a"}}.Append(nil))
	f.Fuzz(func(t *testing.T, src []byte) {
		r, err := DecodeReport(src)
		if err != nil {
			return
		}
		again, err := DecodeReport(r.Append(nil))
		require.NoError(t, err)
		again.Version = r.Version
		slices.SortStableFunc(r.Held, func(a, b Held) int { return compareTaskIDs(a.ID, b.ID) })
		require.Equal(t, r, again)
	})
}
