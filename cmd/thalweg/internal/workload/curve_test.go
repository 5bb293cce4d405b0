package workload

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCurve(t *testing.T) {
	samples := []sample{
		{records: 0, wall: 0, cpu: 0, rss: 1},
		{records: 50, wall: 1, cpu: 2, rss: 2},
		{records: 150, wall: 3, cpu: 4, rss: 3}, // the first part ends in the middle of this
		{records: 200, wall: 4, cpu: 9, rss: 4},
	}
	require.Equal(t, []Step{
		{Records: 100, WallSeconds: 2, CPUSeconds: 3, PerCPUSecond: 100.0 / 3, RSSMiB: 3},
		{Records: 200, WallSeconds: 2, CPUSeconds: 6, PerCPUSecond: 100.0 / 6, RSSMiB: 4},
	}, curve(samples, 2, 200))
	require.Equal(t, []Step{{Records: 200, WallSeconds: 1, CPUSeconds: 5, PerCPUSecond: 10, RSSMiB: 4}},
		curve(samples[2:], 2, 200), "of a run that begins later only what it processed counts")
	late := []sample{
		{records: 0, wall: 1}, {records: 90, wall: 2}, {records: 100, wall: 3, cpu: 1}, {records: 200, wall: 4, cpu: 3},
	}
	require.Equal(t, []Step{
		{Records: 100, WallSeconds: 1, CPUSeconds: 1, PerCPUSecond: 10},
		{Records: 200, WallSeconds: 1, CPUSeconds: 2, PerCPUSecond: 50},
	}, curve(begun(late), 2, 200))
	require.Nil(t, curve(nil, 2, 200))
}
