package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/stream/streamtest"
)

// A busy server makes a job wait, with longer and longer pauses. The clock is the test's, so nobody else waits.
func TestABusyServerIsTriedAgain(t *testing.T) {
	server := newMailServer("anna")
	server.busy["job"] = 4
	topo, err := build(server)
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{Errors: policy()})
	in := d.Input(Queue)
	in.Send("job", Mail{To: "anna"}, 0)
	in.Send("next", Mail{To: "anna"}, 0) // keeps its place in the queue
	for _, pause := range []time.Duration{20, 40, 80, 160} {
		require.Zero(t, d.Output(Receipts).Len())
		at, ok := d.NextRetry()
		require.True(t, ok)
		require.Equal(t, pause*time.Millisecond, at.Sub(d.WallClock()))
		d.AdvanceWallClock(pause * time.Millisecond)
	}
	receipts := d.Output(Receipts).ReadAll()
	require.Len(t, receipts, 2)
	require.Equal(t, "job", receipts[0].Key)
	require.Zero(t, d.Output(Failed).Len())
}

// A dead letter is the job, byte by byte, so it can go back to the queue.
func TestDeadLettersGoBackToTheQueue(t *testing.T) {
	server := newMailServer("anna")
	topo, err := build(server)
	require.NoError(t, err)
	d := streamtest.New(t, topo, streamtest.Config{Errors: policy()})
	d.Input(Queue).Send("job", Mail{To: "dora", Subject: "Hello"}, 0)
	letter := d.Output(Failed).Read()
	require.Zero(t, d.Output(Receipts).Len())
	server.open("dora")
	d.Input(rawQueue).Send(letter.Key, letter.Value, 0)
	require.Equal(t, Receipt{To: "dora", ID: "<job@mail>"}, d.Output(Receipts).Read().Value)
}
