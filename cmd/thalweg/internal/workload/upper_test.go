package workload

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAppendUpper(t *testing.T) {
	all := make([]byte, 256+7)
	want := []byte("x")
	for i := range all {
		all[i] = byte(i)
		c := byte(i)
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		want = append(want, c)
	}
	require.Equal(t, want, appendUpper([]byte("x"), all))
}
