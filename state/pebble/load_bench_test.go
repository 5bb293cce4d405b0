package pebble

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"thalweg/state/engine"
)

// BenchmarkLoad writes rows in random order, as a restore does, in batches of so many rows, or as tables that are made
// and ingested. All figures are microseconds of the process's CPU for each row, with the compactions.
//
//	go test -run - -bench Load -benchtime 1x ./state/pebble -rows 4000000
func BenchmarkLoad(b *testing.B) {
	for _, rows := range []int{4_000, 16_000, 64_000, 256_000} {
		for _, ingest := range []bool{false, true} {
			name := fmt.Sprintf("batch-%d", rows)
			if ingest {
				name = fmt.Sprintf("ingest-%d", rows)
			}
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					d := openRows(b, *rowsOfSettings, func(*pebble.Options) {})
					d.load(b, rows, ingest)
					d.close(b)
				}
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

func (d *rowsOf) load(b *testing.B, size int, ingest bool) {
	order := d.r.Perm(d.count)
	began := time.Now()
	d.per(b, "µs/row", d.count, func() {
		for part := range slices.Chunk(order, size) {
			set := func(w engine.Rows) error {
				for _, r := range d.sorted(part) {
					if err := w.Set(r.key, r.value); err != nil {
						return err
					}
				}
				return nil
			}
			if ingest {
				require.NoError(b, d.engine.Ingest(set))
				continue
			}
			w := d.engine.NewBatch(0)
			require.NoError(b, set(w))
			require.NoError(b, w.Commit())
		}
		require.NoError(b, d.engine.Flush())
		d.settle()
	})
	b.ReportMetric(time.Since(began).Seconds(), "s")
	m := d.db.Metrics()
	total := m.Total()
	b.ReportMetric(float64(total.TableBytesFlushed+total.TableBytesIngested+total.TableBytesCompacted)/
		float64(130*d.count), "write-amp")
	b.ReportMetric(float64(m.DiskSpaceUsage())/(1<<20), "MiB-disk")
}
