package pebble

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Range is the keys in [Lower, Upper).
type Range struct{ Lower, Upper []byte }

// Drop deletes all rows of the ranges. Tables that lie in a range are dropped without being read, and their space
// returns at the latest when the engine is closed. That of tables which reach into one returns with Reclaim. Nobody may
// have an iterator or a snapshot open. When ctx ends it returns, with the rows deleted or not; the same call can be
// made again.
func (e *Engine) Drop(ctx context.Context, ranges ...Range) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	if err := e.changed(); err != nil { // idle look-ups hold tables
		return err
	}
	return e.unlessDead(func() error {
		if err := e.db.Flush(); err != nil {
			return err
		}
		for _, r := range ranges {
			if err := e.db.Excise(ctx, pebble.KeyRange{Start: r.Lower, End: r.Upper}); err != nil {
				return fmt.Errorf("drop rows: %w", err)
			}
		}
		return nil
	})
}

// Reclaim rewrites tables that have dropped rows, too, as far as the disk has space for that: a table needs as much as
// is left of it, until the old one is deleted, which may be when the engine is closed. It returns how many such tables
// remain, and the bytes that the least of those needs. As for Drop, nobody may have an iterator or a snapshot open.
func (e *Engine) Reclaim(ctx context.Context) (remain int, leastBytes int64, err error) {
	if err := e.enter(); err != nil {
		return 0, 0, err
	}
	defer e.leave()
	if err := e.changed(); err != nil {
		return 0, 0, err
	}
	err = e.unlessDead(func() (err error) {
		for range reclaimRoundsMax {
			var rewritten int
			remain, leastBytes, rewritten, err = e.rewriteParts(ctx)
			if err != nil || rewritten == 0 {
				return err
			}
		}
		return nil
	})
	return remain, leastBytes, err
}

const (
	reclaimRoundsMax = 10
	// rewriteSpareBytes is what a rewrite may need beside the rows: a row of each table in a table of its own, and a
	// part of the manifest.
	rewriteSpareBytes = 64 << 10
)

// part is a table that is a part of a file which has dropped rows, too.
type part struct {
	Range
	needBytes int64 // to rewrite it, with what lies above it
}

// rewriteParts rewrites the parts that the disk has space for, the least first, and tells how many there are otherwise,
// and what the least of those needs. Pebble compacts the bottom level only together with what lies above it: so the
// first row of each part is written again, as it is.
func (e *Engine) rewriteParts(ctx context.Context) (remain int, leastBytes int64, rewritten int, err error) {
	parts, err := e.parts()
	if err != nil || len(parts) == 0 {
		return 0, 0, 0, err
	}
	fits := parts
	if usage, err := e.space.inner.GetDiskUsage(e.dir); err == nil { // else what is free is not known
		left := int64(usage.AvailBytes)
		n := 0
		for n < len(parts) && parts[n].needBytes+rewriteSpareBytes <= left {
			left -= parts[n].needBytes + rewriteSpareBytes
			n++
		}
		fits = parts[:n]
		if remain = len(parts) - n; remain > 0 {
			leastBytes = parts[n].needBytes + rewriteSpareBytes
		}
	}
	if len(fits) == 0 {
		return remain, leastBytes, 0, nil
	}
	if err := e.writeAgain(fits); err != nil {
		return remain, leastBytes, 0, err
	}
	for _, p := range fits {
		if err := e.db.Compact(ctx, p.Lower, p.Upper, false); err != nil {
			return remain, leastBytes, 0, err
		}
	}
	return remain, leastBytes, len(fits), nil
}

// parts are the tables that share their files with dropped rows, the least first.
func (e *Engine) parts() (parts []part, err error) {
	levels, err := e.db.SSTables()
	if err != nil {
		return nil, err
	}
	tables := slices.Concat(levels...)
	for _, t := range tables {
		if !t.Virtual {
			continue
		}
		p := part{Range: Range{t.Smallest.UserKey, append(slices.Clone(t.Largest.UserKey), 0)}}
		for _, o := range tables {
			if bytes.Compare(o.Smallest.UserKey, t.Largest.UserKey) <= 0 &&
				bytes.Compare(t.Smallest.UserKey, o.Largest.UserKey) <= 0 {
				p.needBytes += int64(o.Size)
			}
		}
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Compare(a.needBytes, b.needBytes) })
	return parts, nil
}

// writeAgain writes the first row of each part, as it is.
func (e *Engine) writeAgain(parts []part) error {
	b := e.db.NewBatch()
	defer b.Close() //nolint:errcheck // after Commit it does nothing
	for _, p := range parts {
		value, closer, err := e.db.Get(p.Lower)
		switch {
		case errors.Is(err, pebble.ErrNotFound):
			err = b.Delete(p.Lower, nil)
		case err == nil:
			err = errors.Join(b.Set(p.Lower, value, nil), closer.Close())
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(b.Commit(pebble.NoSync), e.db.Flush())
}
