package runtime

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEnumerationsAreWords(t *testing.T) {
	type all struct {
		Guarantee   Guarantee
		Compression Compression
	}
	for g := ExactlyOnce; g <= AtLeastOnce; g++ {
		for c := NoCompression; c <= Zstd; c++ {
			text, err := json.Marshal(all{g, c})
			require.NoError(t, err)
			require.JSONEq(t, `{"Guarantee":"`+g.String()+`","Compression":"`+c.String()+`"}`, string(text))
			var back all
			require.NoError(t, json.Unmarshal(text, &back))
			require.Equal(t, all{g, c}, back)
		}
	}
	var g Guarantee
	require.EqualError(t, g.UnmarshalText([]byte("twice")), `runtime: "twice" is none of exactly-once, at-least-once`)
	_, err := json.Marshal(Guarantee(9))
	require.ErrorContains(t, err, "guarantee(9) has no word")
	text, err := json.Marshal(Stats{State: Running})
	require.NoError(t, err)
	require.Contains(t, string(text), `"State":"running"`)
	_, err = State(9).MarshalText()
	require.Error(t, err)
}
