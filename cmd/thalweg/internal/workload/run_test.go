package workload

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/broker"
)

// Each workload checks its own result: records against the hand-written loop, counts against the input.
func TestWorkloadsAreRight(t *testing.T) {
	for _, w := range Workloads() {
		t.Run(w.Name, func(t *testing.T) {
			r, err := Run(t.Context(), w.Name, Options{
				Brokers: "embedded", Sync: broker.SyncNever, Records: 3000, Workers: 1,
				Logger: slog.New(slog.DiscardHandler),
			})
			require.NoError(t, err)
			require.NotEmpty(t, r.Checked)
			require.Positive(t, r.PerCPUSecond)
		})
	}
}
