package workload

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/broker"
)

// The counts behind the repartition topic add up to what was fed, and each phase is measured.
func TestTasksIsRight(t *testing.T) {
	r, err := Run(t.Context(), "tasks", Options{
		Brokers: "embedded", Sync: broker.SyncNever, Records: 3000, Workers: 2, Partitions: 6, Measure: time.Millisecond,
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	require.NotEmpty(t, r.Checked)
	require.Equal(t, int32(6), r.Partitions)
	require.Positive(t, r.PerCPUSecond)
	require.Positive(t, r.Tasks.StartSeconds)
	require.Positive(t, r.Tasks.IdleRSSMiB)
	require.Positive(t, r.Tasks.CloseSeconds)
}
