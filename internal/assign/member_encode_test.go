package assign

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReportRoundTrip(t *testing.T) {
	for _, r := range []Report{
		{},
		{Process: "p", Weight: 4},
		{Process: "a-process", Weight: 1, Held: []Held{{TaskID{0, 0}, 0}, {TaskID{7, 300}, 1 << 40}}},
		{Process: "p", Topology: "what it is"},
	} {
		raw := r.Append(nil)
		got, err := DecodeReport(append(raw, "of a later version"...))
		require.NoError(t, err)
		require.Equal(t, r, got)
		for n := range raw {
			got, err := DecodeReport(raw[:n])
			if n == len(raw)-len(r.Topology)-1 { // all that an older build writes
				require.NoError(t, err)
				require.Empty(t, got.Topology)
				continue
			}
			require.Error(t, err, "cut at %d of %d", n, len(raw))
		}
	}
}

func TestReportOfALaterVersion(t *testing.T) {
	raw := Report{Process: "p"}.Append(nil)
	raw[0] = 9
	_, err := DecodeReport(raw)
	require.NoError(t, err, "version 9 says that version 1 can read it")
	raw[1] = 2
	_, err = DecodeReport(raw)
	require.ErrorContains(t, err, "upgrade")
}

func FuzzDecodeReport(f *testing.F) {
	f.Add(Report{Process: "p", Weight: 1, Held: []Held{{TaskID{1, 2}, 3}}}.Append(nil))
	f.Fuzz(func(t *testing.T, src []byte) {
		r, err := DecodeReport(src)
		if err != nil {
			return
		}
		again, err := DecodeReport(r.Append(nil))
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}
