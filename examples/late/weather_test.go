package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/stream"
	"thalweg/stream/streamtest"
)

// Each reading is in one final minute, or among the late ones, which say why.
func TestEachReadingCountsOnce(t *testing.T) {
	topo, err := build()
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{})
	at := func(minute, second int) time.Time { return time.Date(2026, 5, 4, 12, minute, second, 0, time.UTC) }
	send := func(at time.Time, celsius float64) {
		d.Input(Readings).Send("harbor", Reading{at, celsius}, 0) // the record's own time does not matter
	}
	send(at(0, 10), 10)
	send(at(1, 29), 30)
	send(at(0, 50), 20) // late, but within 30 seconds
	require.Zero(t, d.Output(Minutes).Len())
	send(at(1, 30), 40) // 12:00 is final now
	want := Minute{From: at(0, 0), Readings: 2, Mean: 15, Max: 20}
	require.Equal(t, want, d.Output(Minutes).Read().Value)
	send(at(0, 55), 50) // too late
	late := d.Output(Late).ReadAll()
	require.Len(t, late, 1)
	require.Equal(t, Reading{at(0, 55), 50}, late[0].Value)
	require.Equal(t, at(0, 55).UnixMilli(), late[0].Timestamp)
	require.Equal(t, stream.ReasonHeader, late[0].Headers[0].Key)
	require.Equal(t, "late", string(late[0].Headers[0].Value))
	require.Equal(t, `{"at":"2026-05-04T12:00:55Z","celsius":50}`, string(d.Written("late-readings")[0].Value))
}
