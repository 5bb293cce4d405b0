package state

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzHistory(f *testing.F) {
	bytes, err := historySerde{}.Append(nil, history{[]version{{9, []byte("nine")}, {5, nil}, {-3, []byte{}}}})
	require.NoError(f, err)
	f.Add(bytes)
	f.Add(bytes[:len(bytes)-1])
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, src []byte) {
		h, err := historySerde{}.Decode(src)
		if err != nil {
			return
		}
		again, err := historySerde{}.Append(nil, h)
		require.NoError(t, err)
		same, err := historySerde{}.Decode(again)
		require.NoError(t, err)
		require.Equal(t, h, same)
	})
}
