package runtime

import (
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/internal/kclient"
	"thalweg/internal/memory"
)

// TestShare: the workers' inputs share BufferedBytesMax, and none gets more than it can use.
func TestShare(t *testing.T) {
	for _, c := range []struct {
		inputs int
		want   int
	}{{0, shareMost}, {1, shareMost}, {8, shareMost}, {16, 2 << 20}, {32, 1 << 20}, {1 << 20, shareLeast}} {
		fetched := memory.NewShare(memory.Fetched, 64<<20)
		fetched.Divide(2)
		s := newInputs(&portions{fetched: fetched}, nil)
		for i := range c.inputs {
			s.of[kclient.TopicPartition{Partition: int32(i)}] = nil
		}
		require.Equal(t, c.want, s.share(), "%d inputs", c.inputs)
	}
}
