package streamtest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/state"
	"thalweg/stream"
	"thalweg/stream/streamtest"
)

func TestWindowsAndSessionsAreRead(t *testing.T) {
	perMinute := state.NewWindowed[string, int64]("per-minute")
	visits := state.NewSession[string, int64]("visits")
	b := stream.NewBuilder()
	grouped := b.Stream(texts).GroupByKey()
	grouped.Windowed(stream.Tumbling(time.Minute, time.Hour)).Count(perMinute)
	grouped.Sessions(stream.SessionGap(10*time.Second, time.Hour)).Count(visits)
	topo, err := b.Build()
	require.NoError(t, err)
	const second, minute = 1000, 60_000
	for _, partitions := range []int32{1, 3} {
		d := streamtest.New(t, topo, streamtest.Config{Partitions: partitions})
		in := d.Input(texts)
		for _, at := range []int64{0, 5 * second, 30 * second, 70 * second} {
			in.Send("bo", "x", at)
			in.Send("anna", "x", at)
		}
		d.Restart(streamtest.LoseState)
		n, ok := d.GetWindow(perMinute, "anna", 0)
		require.True(t, ok)
		require.EqualValues(t, 3, n)
		_, ok = d.GetWindow(perMinute, "anna", 2*minute)
		require.False(t, ok)
		require.Equal(t, []state.WindowEntry[string, int64]{
			{Key: "bo", Start: 0, Value: 3, Timestamp: 30 * second},
			{Key: "bo", Start: minute, Value: 1, Timestamp: 70 * second},
		}, d.WindowsOf(perMinute, "bo", 0, minute))
		require.Len(t, d.WindowsOf(perMinute, "bo", 1, minute), 1)
		var starts []int64
		for _, w := range d.Windows(perMinute) {
			starts = append(starts, w.Start)
		}
		require.Equal(t, []int64{0, 0, minute, minute}, starts)

		n, ok = d.GetSession(visits, "anna", 70*second, 70*second)
		require.True(t, ok)
		require.EqualValues(t, 1, n)
		require.Equal(t, []state.SessionEntry[string, int64]{{Key: "bo", Start: 30 * second, End: 30 * second, Value: 1}},
			d.SessionsOf(visits, "bo", 20*second, 69*second))
		var ends []int64
		for _, s := range d.Sessions(visits) {
			ends = append(ends, s.End)
		}
		require.Equal(t, []int64{5 * second, 5 * second, 30 * second, 30 * second, 70 * second, 70 * second}, ends)
	}
}

func TestVersionsAndBuffersAreRead(t *testing.T) {
	prices := state.NewVersioned[string, string]("prices", time.Hour)
	orders := stream.NewTopic[string, string]("orders")
	b := stream.NewBuilder()
	b.VersionedTable(texts, prices)
	b.Stream(orders).Join(b.Stream(out), stream.Around(time.Minute, 0), "met", func(a, b string) string { return a + b })
	topo, err := b.Build()
	require.NoError(t, err)
	for _, partitions := range []int32{1, 2} {
		d := streamtest.New(t, topo, streamtest.Config{Partitions: partitions})
		in := d.Input(texts)
		in.Send("tea", "3", 100)
		in.SendNull("tea", 200)
		in.Send("tea", "4", 300)
		row, ok := d.GetAsOf(prices, "tea", 150)
		require.True(t, ok)
		require.Equal(t, streamtest.Row[string]{Value: "3", Timestamp: 100}, row)
		_, ok = d.GetAsOf(prices, "tea", 250)
		require.False(t, ok)
		require.Equal(t, []state.Version[string]{
			{Value: "4", Exists: true, From: 300, To: state.Latest},
			{From: 200, To: 300},
			{Value: "3", Exists: true, From: 100, To: 200},
		}, d.Versions(prices, "tea"))

		d.Input(orders).Send("anna", "a", 5)
		left := state.NewBuffer[string, string]("met-this-join-store")
		require.Equal(t, []state.BufferEntry[string]{{Value: "a", Timestamp: 5}}, d.Buffered(left, "anna", 0, 10))
		require.Empty(t, d.Buffered(left, "anna", 6, 10))
	}
}
