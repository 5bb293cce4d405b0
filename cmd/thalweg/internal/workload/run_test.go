package workload

import (
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/broker"
)

// Each workload checks its own result: records against the hand-written loop, counts against the input.
func TestWorkloadsAreRight(t *testing.T) {
	for _, w := range Workloads() {
		for _, filled := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/filled=%v", w.Name, filled), func(t *testing.T) {
				r, err := Run(t.Context(), w.Name, Options{
					Brokers: "embedded", Sync: broker.SyncNever, Records: 3000, Workers: 1, Filled: filled,
					Logger: slog.New(slog.DiscardHandler),
				})
				require.NoError(t, err)
				require.NotEmpty(t, r.Checked)
				require.Positive(t, r.PerCPUSecond)
			})
		}
	}
}
