package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"thalweg/internal/kclient"
)

// Committer commits what one loop of [Client.Read] has read in a group, when the program says so. Its zero value is
// ready. It is used in the loop's body.
//
//	var done runtime.Committer
//	for r, err := range client.Read(ctx, orders, runtime.Earliest().Group("billing").Follow().CommitBy(&done)) {
//		…
//		if batch = append(batch, r.Value); len(batch) == 100 {
//			… // write the batch
//			err = done.Commit(ctx)
//		}
//	}
type Committer struct{ of *reading }

// Commit commits all records that the loop was given so far, the last one included. What it was given after the last
// Commit comes again: to this member or, when partitions go to another one, to that.
func (c *Committer) Commit(ctx context.Context) error {
	if c.of == nil {
		return errors.New("runtime: commit: no loop reads with this Committer")
	}
	r := c.of
	if err := r.commitUpTo(ctx, func(p *position) int64 { return max(p.next, p.given) }); err != nil {
		return fmt.Errorf("runtime: commit in group %s: %w", r.from.group, err)
	}
	return nil
}

// runMember reads as a member of a group, on a client of its own, and commits at the end.
func (r *reading) runMember(ctx context.Context, c *connection) (err error) {
	cfg := c.clientConfig()
	cfg.Group, cfg.Topics, cfg.RebalanceTimeout = r.from.group, []string{r.topic}, groupRebalance
	bytes, done := c.readBytes()
	defer done()
	cfg.FetchBytesMax, cfg.FetchPartitionBytesMax = bytes, readPartitionBytesMax
	if r.client, err = kclient.Open(ctx, cfg); err != nil {
		return err
	}
	defer r.client.Close()
	r.fetcher = r.client.Fetcher()
	if c := r.from.committer; c != nil {
		c.of = r
		defer func() { c.of = nil }()
	}
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.CloseTimeout)
		defer cancel()
		commitErr := r.commit(last)
		if commitErr != nil && errors.Is(err, errLeft) { // nobody can be told
			r.log.Warn("can't commit: what was read comes again", "group", r.from.group, "err", commitErr)
		}
		err = errors.Join(err, commitErr)
	}()
	look := time.NewTicker(groupLook)
	defer look.Stop()
	for {
		if r.moved {
			done, err := r.groupAtEnd(ctx)
			if done || err != nil {
				return err
			}
		}
		select {
		case fetched := <-r.fetcher.Fetched():
			err = r.take(ctx, fetched)
		case e := <-r.client.Events():
			err = r.handle(ctx, e)
		case <-look.C:
			r.moved = true // or another member has
			err = r.commitDue(ctx)
		case <-ctx.Done():
			err = context.Cause(ctx)
		case <-r.closed:
			err = errClientClosed
		}
		if err != nil {
			return err
		}
	}
}

// handle follows the membership.
func (r *reading) handle(ctx context.Context, e kclient.Event) error {
	defer e.Done()
	switch e.Kind {
	case kclient.Assigned:
		r.member = true
		return r.assigned(ctx, e.Partitions)
	case kclient.Revoked:
		err := r.commit(ctx)
		r.drop(e.Partitions)
		return err
	case kclient.Lost:
		r.drop(e.Partitions)
	case kclient.Trouble:
		if kclient.ClassOf(e.Err) == kclient.Fatal {
			return e.Err
		}
		r.log.Warn("the group has trouble: going on", "group", r.from.group, "err", e.Err)
	}
	return nil
}

// assigned begins to read partitions where the group is in them.
func (r *reading) assigned(ctx context.Context, tps []kclient.TopicPartition) error {
	r.moved = true
	if len(tps) == 0 {
		return nil
	}
	committed, err := r.client.CommittedOffsets(ctx, tps)
	if err != nil {
		return err
	}
	var fresh []kclient.TopicPartition
	for _, tp := range tps {
		if committed[tp].Next < 0 {
			fresh = append(fresh, tp)
		}
	}
	starts, err := r.starts(ctx, fresh)
	if err != nil {
		return err
	}
	for _, tp := range tps {
		p := position{next: committed[tp].Next, committed: committed[tp].Next}
		if p.committed < 0 {
			p.next = starts[tp]
		}
		r.begin(tp, p)
	}
	return nil
}

func (r *reading) drop(tps []kclient.TopicPartition) {
	for _, tp := range tps {
		delete(r.positions, tp)
		r.fetcher.Unset(tp)
	}
}

func (r *reading) commitDue(ctx context.Context) error {
	if time.Now().Before(r.commitAt) {
		return nil
	}
	return r.commit(ctx)
}

// commit commits what the loop is done with, unless the program does. A member that has lost its partitions meanwhile
// learns that next; others then read what it could not commit.
func (r *reading) commit(ctx context.Context) error {
	r.commitAt = time.Now().Add(groupCommits)
	if r.from.committer != nil {
		return nil
	}
	err := r.commitUpTo(ctx, func(p *position) int64 { return p.next })
	if class := kclient.ClassOf(err); err != nil && (class == kclient.Fenced || class == kclient.Abort) {
		r.log.Warn("can't commit: what was read may come again", "group", r.from.group, "err", err)
		return nil
	}
	return err
}

func (r *reading) commitUpTo(ctx context.Context, next func(*position) int64) error {
	var offsets []kclient.Offset
	for tp, p := range r.positions {
		if n := next(p); n > p.committed {
			offsets = append(offsets, kclient.Offset{TopicPartition: tp, Next: n, LeaderEpoch: -1})
		}
	}
	if err := r.client.CommitOffsets(ctx, offsets); err != nil {
		return err
	}
	for _, o := range offsets {
		r.positions[o.TopicPartition].committed = o.Next
	}
	return nil
}

// groupAtEnd tells whether the group has committed up to the end of every partition, other members included.
func (r *reading) groupAtEnd(ctx context.Context) (bool, error) {
	r.moved = false
	if !r.member || !r.atEnd() {
		return false, nil
	}
	if r.from.committer != nil {
		return true, nil
	}
	if err := r.commit(ctx); err != nil {
		return false, err
	}
	var others []kclient.TopicPartition
	for tp, end := range r.ends {
		if r.positions[tp] == nil && end > 0 {
			others = append(others, tp)
		}
	}
	if len(others) == 0 {
		return true, nil
	}
	committed, err := r.client.CommittedOffsets(ctx, others)
	if err != nil {
		return false, err
	}
	for _, tp := range others {
		if committed[tp].Next < r.ends[tp] {
			return false, nil
		}
	}
	return true, nil
}
