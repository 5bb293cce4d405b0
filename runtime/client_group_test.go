package runtime_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"thalweg/runtime"
)

func TestAGroupGoesOnWhereItCommitted(t *testing.T) {
	h := newHarness(t)
	client := h.clientOf(h.config())
	require.NoError(t, client.Create(h.ctx, 1, notes))
	require.NoError(t, client.SendAll(h.ctx, notes, numbered(10)))
	from := runtime.Earliest().Group("g")
	failed := errors.New("failed")
	process := func() error {
		for r, err := range client.Read(h.ctx, notes, from) {
			if err != nil {
				return err
			}
			if r.Value == "6" {
				return failed
			}
		}
		return nil
	}
	require.ErrorIs(t, process(), failed)
	require.Equal(t, []string{"6", "7", "8", "9"}, values(all(h, client, notes, from)), "what failed comes again")
	require.Empty(t, all(h, client, notes, from))
	require.NoError(t, client.Put(h.ctx, notes, "k", "10"))
	require.Equal(t, []string{"10"}, values(all(h, client, notes, from)))
	require.Len(t, all(h, client, notes, runtime.Earliest().Group("other")), 11)
}

func TestAProgramCommitsByItself(t *testing.T) {
	h := newHarness(t)
	client := h.clientOf(h.config())
	require.NoError(t, client.Create(h.ctx, 1, notes))
	require.NoError(t, client.SendAll(h.ctx, notes, numbered(10)))
	var done runtime.Committer
	from := runtime.Earliest().Group("g").CommitBy(&done)
	var batch []string
	for r, err := range client.Read(h.ctx, notes, from) {
		require.NoError(t, err)
		if batch = append(batch, r.Value); len(batch)%4 == 0 {
			require.NoError(t, done.Commit(h.ctx))
		}
		for _, err := range client.Read(h.ctx, notes, from) {
			require.ErrorContains(t, err, "another loop reads with the same Committer")
		}
	}
	require.Len(t, batch, 10)
	require.Equal(t, []string{"8", "9"}, values(all(h, client, notes, from)), "the last two were not committed")
	for _, err := range client.Read(h.ctx, notes, from) {
		require.NoError(t, err)
		require.NoError(t, done.Commit(h.ctx))
		break // what was given is committed, also where the loop is left
	}
	require.Equal(t, []string{"9"}, values(all(h, client, notes, from)))
	require.ErrorContains(t, done.Commit(h.ctx), "no loop reads with this Committer")
	for _, err := range client.Read(h.ctx, notes, runtime.Earliest().CommitBy(&done)) {
		require.ErrorContains(t, err, "without a group")
	}
	for _, err := range client.Read(h.ctx, notes, runtime.Earliest().Group("g").CommitBy(nil)) {
		require.ErrorContains(t, err, "the Committer is nil")
	}
	for _, err := range client.Read(h.ctx, notes, runtime.Earliest().Group("")) {
		require.ErrorContains(t, err, "the name of the group is empty")
	}
}

// Members share the partitions, give some to one that comes later, and end when all is read by some of them.
func TestMembersOfAGroupShareATopic(t *testing.T) {
	h := newHarness(t)
	client := h.clientOf(h.config())
	require.NoError(t, client.Create(h.ctx, 4, notes))
	require.NoError(t, client.SendAll(h.ctx, notes, numbered(200)))
	var mu sync.Mutex
	seen, readers := map[string]int{}, map[int32]map[int]bool{}
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	var members sync.WaitGroup
	joined := make(chan struct{})
	member := func(id int) {
		for r, err := range client.Read(ctx, notes, runtime.Earliest().Group("g").Follow()) {
			if err != nil {
				require.ErrorIs(t, err, context.Canceled)
				return
			}
			mu.Lock()
			seen[r.Value]++
			if readers[r.Partition] == nil {
				readers[r.Partition] = map[int]bool{}
			}
			readers[r.Partition][id] = true
			ids := map[int]bool{}
			for _, of := range readers {
				for id := range of {
					ids[id] = true
				}
			}
			if len(seen) == 200 && id == 0 && len(ids) == 1 {
				close(joined) // the second comes when the first has read all
			}
			if len(ids) == 2 {
				cancel()
			}
			mu.Unlock()
		}
	}
	members.Go(func() { member(0) })
	<-joined
	members.Go(func() { member(1) })
	for i := 0; ctx.Err() == nil; i++ { // until the second has got a partition
		require.NoError(t, client.Put(h.ctx, notes, fmt.Sprint("key", i), fmt.Sprint("later", i)))
	}
	members.Wait()
	for i := range 200 {
		require.Equal(t, 1, seen[fmt.Sprint(i)], "the first member gave its partitions away after a commit")
	}
	all(h, client, notes, runtime.Earliest().Group("g")) // the records at which they were stopped
	require.Empty(t, all(h, client, notes, runtime.Earliest().Group("g")))
}
