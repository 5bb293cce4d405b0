package runtime

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"thalweg/internal/kclient"
	"thalweg/state"
)

// trimFactor is how many purges of repartition topics there are for one of changelogs: a broker frees whole segments.
const trimFactor = 10

// purger deletes what nobody needs any more: see run.
type purger struct {
	app *app

	mu        sync.Mutex
	processed map[kclient.TopicPartition]int64   // committed offsets of repartition topics, since the last purge
	expiries  map[kclient.TopicPartition]expired // of changelogs, since the last trim
}

// run deletes what nobody needs any more: processed records of repartition topics, and expired rows of the
// changelogs of windows, sessions and join buffers.
func (p *purger) run(ctx context.Context, control *kclient.Client, finished <-chan struct{}) {
	ticker := time.NewTicker(p.app.cfg.Topics.PurgeInterval)
	defer ticker.Stop()
	for n := 1; ; n++ {
		select {
		case <-ticker.C:
		case <-finished:
			return
		}
		p.mu.Lock()
		due := p.processed
		p.processed = map[kclient.TopicPartition]int64{}
		p.mu.Unlock()
		if err := control.Topics().DeleteRecords(ctx, due); err != nil && ctx.Err() == nil {
			p.app.cfg.Logger.Warn("can't purge repartition topics: trying again later", "err", err)
			p.note(due)
		}
		if n%trimFactor != 0 {
			continue
		}
		if err := p.trim(ctx, control); err != nil && ctx.Err() == nil {
			p.app.cfg.Logger.Warn("can't delete expired rows from changelogs, which grow meanwhile: trying again later",
				"application", p.app.cfg.ApplicationID, "err", err)
		}
	}
}

// note notes committed offsets for the next purge.
func (p *purger) note(committed map[kclient.TopicPartition]int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for tp, offset := range committed {
		p.processed[tp] = max(p.processed[tp], offset)
	}
}

// expired is what is known of an expired changelog: nobody needs what lies before the offset, or before the first
// record with that timestamp or a later one.
type expired struct{ offset, timestamp int64 }

func (x expired) or(y expired) expired {
	return expired{max(x.offset, y.offset), max(x.timestamp, y.timestamp)}
}

// expiring follows how a store expires.
type expiring struct {
	told  expired
	marks []expiryMark // ascending
}

// expiryMark says that no row before an offset of the changelog is newer than a time.
type expiryMark struct{ offset, newest int64 }

// expiryMarksMax bounds the marks of a store whose stream time stands still behind its newest rows.
const expiryMarksMax = 1024

// note takes in what a store says now, when its changelog's committed end is at position.
func (e *expiring) note(x state.Expiry, position int64) expired {
	n := 0
	for n < len(e.marks) && e.marks[n].newest < x.Before {
		n++
	}
	now := expired{timestamp: x.Stamped}
	if n > 0 {
		now.offset = e.marks[n-1].offset
		e.marks = slices.Delete(e.marks, 0, n)
	}
	if last := len(e.marks) - 1; last >= 0 && e.marks[last].newest >= x.Newest {
		e.marks[last].offset = position
	} else {
		e.marks = append(e.marks, expiryMark{position, x.Newest})
	}
	if len(e.marks) > expiryMarksMax { // half of them say the same, later
		kept := e.marks[:0]
		for i := 1; i < len(e.marks); i += 2 {
			kept = append(kept, e.marks[i])
		}
		e.marks = kept
	}
	return now
}

// noteExpired tells the application how much of the task's changelogs has expired.
func (j *job) noteExpired(p *purger) error {
	for store, tp := range j.logOf {
		x, ok := j.tx.Expiry(store)
		if !ok || x.Newest < 0 {
			continue
		}
		position, known, err := j.tx.Position(store)
		if err != nil {
			return err
		}
		if !known {
			continue
		}
		e := j.expiring[store]
		if e == nil {
			e = &expiring{}
			j.expiring[store] = e
		}
		if now := e.told.or(e.note(x, position)); now != e.told {
			e.told = now
			p.expire(tp, now)
		}
	}
	return nil
}

// expire notes how much of a changelog has expired.
func (p *purger) expire(tp kclient.TopicPartition, x expired) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expiries[tp] = p.expiries[tp].or(x)
}

// trim deletes from changelogs what has expired in their stores, by stream time, which a broker does not know: see
// docs/adr/0011. Old and new rows may be mixed, so some that have expired stay until all before them has.
func (p *purger) trim(ctx context.Context, control *kclient.Client) error {
	p.mu.Lock()
	expiries := p.expiries
	p.expiries = map[kclient.TopicPartition]expired{}
	p.mu.Unlock()
	due, err := trimmable(ctx, control, expiries)
	if err == nil {
		err = p.app.noted.raiseStarts(ctx, due)
	}
	if err == nil {
		err = control.Topics().DeleteRecords(ctx, due)
	}
	if err != nil {
		for tp, x := range expiries {
			p.expire(tp, x)
		}
	}
	return err
}

// trimmable finds the offsets before which changelogs have expired. Look-ups by time find what was written before this
// process, where they can: markers of transactions have the time of the broker's clock, which may be far ahead.
func trimmable(
	ctx context.Context, c *kclient.Client, expiries map[kclient.TopicPartition]expired,
) (map[kclient.TopicPartition]int64, error) {
	all := slices.Collect(maps.Keys(expiries))
	if len(all) == 0 {
		return nil, nil
	}
	starts, err := c.ListOffsets(ctx, all, kclient.Earliest, false)
	if err != nil {
		return nil, err
	}
	// The end goes first: what is written after it stays, whatever a look-up by time misses meanwhile.
	ends, err := c.ListOffsets(ctx, all, kclient.Latest, false)
	if err != nil {
		return nil, err
	}
	byTime := map[int64][]kclient.TopicPartition{}
	due := map[kclient.TopicPartition]int64{}
	for tp, x := range expiries {
		byTime[x.timestamp] = append(byTime[x.timestamp], tp)
		if x.offset > starts[tp] {
			due[tp] = min(x.offset, ends[tp])
		}
	}
	for timestamp, tps := range byTime {
		if timestamp <= 0 {
			continue
		}
		found, err := c.ListOffsets(ctx, tps, timestamp, false)
		if err != nil {
			return nil, err
		}
		for _, tp := range tps {
			if offset := min(found[tp], ends[tp]); offset > max(starts[tp], due[tp]) {
				due[tp] = offset
			}
		}
	}
	return due, nil
}
