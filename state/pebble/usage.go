package pebble

import (
	"github.com/cockroachdb/pebble/v2"
)

// Usage estimates the rows in [lower, upper) and their bytes on the disk. What is in memory alone does not count; what
// was overwritten or deleted counts until it is compacted.
func (e *Engine) Usage(lower, upper []byte) (rows, bytes int64, err error) {
	if err := e.enter(); err != nil {
		return 0, 0, err
	}
	defer e.leave()
	err = e.unlessDead(func() error {
		levels, err := e.db.SSTables(pebble.WithProperties(), pebble.WithKeyRangeFilter(lower, upper),
			pebble.WithApproximateSpanBytes())
		if err != nil {
			return err
		}
		for _, level := range levels {
			for _, table := range level {
				bytes += int64(table.ApproximateSpanBytes)
				if p := table.Properties; table.Size > 0 && p.NumEntries > 2*p.NumDeletions {
					share := min(float64(table.ApproximateSpanBytes)/float64(table.Size), 1)
					rows += int64(share * float64(p.NumEntries-2*p.NumDeletions))
				}
			}
		}
		return nil
	})
	return rows, bytes, err
}
