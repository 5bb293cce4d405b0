package runtime

import (
	"context"
	"errors"
	"time"

	"thalweg/internal/link"
)

// runMember reads as a member of a group, on a link of its own, and commits at the end.
func (r *reading) runMember(ctx context.Context, c *connection) (err error) {
	cfg := c.linkConfig()
	cfg.Group, cfg.Topics, cfg.RebalanceTimeout = r.from.group, []string{r.topic}, groupRebalance
	cfg.FetchBytesMax, cfg.FetchPartitionBytesMax = readBytesMax, readPartitionBytesMax
	if r.link, err = link.Open(ctx, cfg); err != nil {
		return err
	}
	defer r.link.Close()
	r.fetcher = r.link.Fetcher()
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
		case e := <-r.link.Events():
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
func (r *reading) handle(ctx context.Context, e link.Event) error {
	defer e.Done()
	switch e.Kind {
	case link.Assigned:
		r.member = true
		return r.assigned(ctx, e.Partitions)
	case link.Revoked:
		err := r.commit(ctx)
		r.drop(e.Partitions)
		return err
	case link.Lost:
		r.drop(e.Partitions)
	case link.Trouble:
		if link.ClassOf(e.Err) == link.Fatal {
			return e.Err
		}
		r.log.Warn("the group has trouble: going on", "group", r.from.group, "err", e.Err)
	}
	return nil
}

// assigned begins to read partitions where the group is in them.
func (r *reading) assigned(ctx context.Context, tps []link.TopicPartition) error {
	r.moved = true
	if len(tps) == 0 {
		return nil
	}
	committed, err := r.link.CommittedOffsets(ctx, tps)
	if err != nil {
		return err
	}
	var fresh []link.TopicPartition
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
		p := position{committed[tp].Next, committed[tp].Next}
		if p.committed < 0 {
			p.next = starts[tp]
		}
		r.begin(tp, p)
	}
	return nil
}

func (r *reading) drop(tps []link.TopicPartition) {
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

// commit commits what the loop is done with. A member that has lost its partitions meanwhile is told of that next; what
// others than it read then comes twice.
func (r *reading) commit(ctx context.Context) error {
	r.commitAt = time.Now().Add(groupCommits)
	var offsets []link.Offset
	for tp, p := range r.positions {
		if p.next > p.committed {
			offsets = append(offsets, link.Offset{TopicPartition: tp, Next: p.next, LeaderEpoch: -1})
		}
	}
	err := r.link.CommitOffsets(ctx, offsets)
	if class := link.ClassOf(err); err != nil && (class == link.Fenced || class == link.Abort) {
		r.log.Warn("can't commit: what was read may come again", "group", r.from.group, "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, o := range offsets {
		if p := r.positions[o.TopicPartition]; p != nil {
			p.committed = o.Next
		}
	}
	return nil
}

// groupAtEnd tells whether the group has committed up to the end of every partition, be it by other members.
func (r *reading) groupAtEnd(ctx context.Context) (bool, error) {
	r.moved = false
	if !r.member || !r.atEnd() {
		return false, nil
	}
	if err := r.commit(ctx); err != nil {
		return false, err
	}
	var others []link.TopicPartition
	for tp, end := range r.ends {
		if r.positions[tp] == nil && end > 0 {
			others = append(others, tp)
		}
	}
	if len(others) == 0 {
		return true, nil
	}
	committed, err := r.link.CommittedOffsets(ctx, others)
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
