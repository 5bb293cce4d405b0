package layout

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

var someOrigin = Origin{
	Kind: 2, Format: 1, Filling: 1, TopicID: [16]byte{1, 15: 9}, Topic: "a-b-changelog", Cluster: "c", Application: "a",
	Keys: "string", Values: "msgpack main.T",
}

func TestPositionRows(t *testing.T) {
	const offsetAlone, withoutOrigin = 8, 8 + 1 + 8
	for _, origin := range []*Origin{nil, {}, &someOrigin} {
		want := PositionRow{Offset: 77, Synced: 1_700_000_000_000, Origin: origin}
		row := AppendPositionRow(nil, want)
		got, err := ReadPositionRow(row)
		require.NoError(t, err)
		require.Equal(t, want, got)
		for cut := range len(row) {
			if _, err := ReadPositionRow(row[:cut]); cut != offsetAlone && cut != withoutOrigin {
				require.Error(t, err, "%d of %d bytes", cut, len(row))
			}
		}
		if origin != nil {
			_, err = ReadPositionRow(append(row, 0))
			require.Error(t, err, "with something behind it")
		}
	}
	row := AppendPositionRow(nil, PositionRow{Offset: 77, Origin: &someOrigin})
	row[8] = 4
	_, err := ReadPositionRow(row)
	require.ErrorContains(t, err, "version 4")
}

// The rows of versions 1 and 2 of the layout have no time, and those of version 3 no names of formats.
func TestOlderPositionRows(t *testing.T) {
	offset := binary.BigEndian.AppendUint64(nil, 77)
	got, err := ReadPositionRow(offset)
	require.NoError(t, err)
	require.Equal(t, PositionRow{Offset: 77}, got)
	id := "0123456789abcdef"
	got, err = ReadPositionRow([]byte(string(offset) + "\x01\x02\x01\x03" + id + "\x01t\x00\x03app"))
	require.NoError(t, err)
	require.Equal(t, PositionRow{Offset: 77, Origin: &Origin{
		Kind: 2, Format: 1, Filling: 3, TopicID: [16]byte([]byte(id)), Topic: "t", Application: "app",
	}}, got)
	synced := string(binary.BigEndian.AppendUint64(nil, 5))
	got, err = ReadPositionRow([]byte(string(offset) + "\x02" + synced + "\x02\x01\x03" + id + "\x01t\x00\x03app"))
	require.NoError(t, err)
	require.Equal(t, PositionRow{Offset: 77, Synced: 5, Origin: &Origin{
		Kind: 2, Format: 1, Filling: 3, TopicID: [16]byte([]byte(id)), Topic: "t", Application: "app",
	}}, got)
}

func FuzzPositionRow(f *testing.F) {
	f.Add(AppendPositionRow(nil, PositionRow{Offset: 77, Synced: 5, Origin: &someOrigin}))
	f.Add(AppendPositionRow(nil, PositionRow{Offset: -1}))
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := ReadPositionRow(src)
		if err != nil {
			return
		}
		again, err := ReadPositionRow(AppendPositionRow(nil, p))
		require.NoError(t, err)
		require.Equal(t, p, again)
	})
}
