package workload

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestUpper(t *testing.T) {
	all, want := make([]byte, 256), make([]byte, 256)
	for i := range all {
		c := byte(i)
		all[i] = c
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		want[i] = c
	}
	for n := range 81 {
		for from := range len(all) - n {
			got := make([]byte, n)
			upper(got, all[from:from+n])
			require.Equal(t, want[from:from+n], got)
		}
	}
}
