package task

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/topology"
)

func TestMetadata(t *testing.T) {
	require.Equal(t, "AQAAAAAAAAEs", encodeMetadata(300, nil))
	for _, ts := range []int64{topology.Unknown, 0, 1 << 40} {
		for _, marks := range []map[string]int64{nil, {"a": 5, "longer name": -1}} {
			got, gotMarks, err := decodeMetadata(encodeMetadata(ts, marks))
			require.NoError(t, err)
			require.Equal(t, ts, got)
			require.Equal(t, marks, gotMarks)
		}
	}
	got, _, err := decodeMetadata("")
	require.NoError(t, err)
	require.Equal(t, topology.Unknown, got)
	// Kafka Streams' version 2, with an empty map
	got, _, err = decodeMetadata(base64.StdEncoding.EncodeToString([]byte{2, 0, 0, 0, 0, 0, 0, 1, 44, 0, 0, 0, 0}))
	require.NoError(t, err)
	require.EqualValues(t, 300, got)
	for _, bad := range []string{"!", "AQ==", "CQAAAAAAAAEs", "AgAAAAAAAAEsAA==", "AgAAAAAAAAEsAAAAAQAAAAk="} {
		_, _, err = decodeMetadata(bad)
		require.Error(t, err, bad)
	}
}

func TestMovesNameEveryState(t *testing.T) {
	for s := range states {
		require.NotEmpty(t, s.String())
		require.NotEmpty(t, moves[s])
	}
}
