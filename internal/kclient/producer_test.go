package kclient

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAFailedRoundKeepsTheRestInOrder ends rounds in which batches of one partition were answered behind one that was
// not: only what comes before it is done.
func TestAFailedRoundKeepsTheRestInOrder(t *testing.T) {
	for missing, done := range map[int]int{0: 0, 1: 1, 2: 2, 3: 3} {
		p := &producer{
			roundBatches: 3, requestBytesMax: 1 << 20, signal: make(chan struct{}, 1),
			partitions: map[TopicPartition]*producePartition{},
		}
		p.changed = sync.NewCond(&p.mu)
		q := &producePartition{TopicPartition: TopicPartition{"t", 0}, sequence: 7}
		for _, v := range []string{"a", "b", "c", "d"} {
			q.items = append(q.items, item("t", 0, v, v))
			p.bytes, p.items = p.bytes+q.items[0].Builder.Size(), p.items+1
		}
		p.waiting = []*producePartition{q}
		round := p.takeRound()
		require.Len(t, round, 3)
		for i, try := range round {
			require.EqualValues(t, 7+2*i, try.sequence)
			try.acked = i != missing
		}
		p.endRound(round, errors.New("no answer"))
		require.Len(t, q.items, 4-done)
		require.Len(t, p.done, done)
		require.EqualValues(t, 7+2*done, q.sequence)
		require.Equal(t, []*producePartition{q}, p.waiting)
		require.Equal(t, 4-done, p.items)
	}
}

// TestRoundsGatherUntilSomeoneWaits looks at when a round begins that nobody waits for.
func TestRoundsGatherUntilSomeoneWaits(t *testing.T) {
	p := &producer{linger: 1000}
	require.False(t, p.worthARound())
	p.waiting = []*producePartition{{}}
	p.bytes = 999
	require.False(t, p.worthARound())
	p.urgent = 1
	require.True(t, p.worthARound())
	p.urgent, p.bytes = 0, 1000
	require.True(t, p.worthARound())
}
