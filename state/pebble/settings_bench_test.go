package pebble

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/stretchr/testify/require"
)

var (
	rowsOfSettings = flag.Int("rows", 100_000, "rows that BenchmarkSettings writes; the figures in docs are of 4000000")
	randomValues   = flag.Bool("random", false, "values that do not compress")
)

// settings are what was tried; docs/performance.md has the results.
var settings = []struct {
	name   string
	change func(*pebble.Options)
}{
	{"as-it-is", together()},
	{"snappy", compression(sstable.SnappyCompression, sstable.SnappyCompression)}, // what it was before
	{"none", compression(sstable.NoCompression, sstable.NoCompression)},
	{"none-snappy", compression(sstable.NoCompression, sstable.SnappyCompression)},
	{"none-zstd", compression(sstable.NoCompression, sstable.ZstdCompression)},
	{"minlz", compression(sstable.MinLZCompression, sstable.MinLZCompression)},
	{"block-4k", blockSize(4 << 10)},
	{"block-16k", blockSize(16 << 10)},
	{"block-32k", blockSize(32 << 10)},
	{"restart-8", func(o *pebble.Options) {
		for i := range o.Levels {
			o.Levels[i].BlockRestartInterval = 8
		}
	}},
	{"index-1m", indexSize(1 << 20)},
	{"filter-8", filterBits(8)},
	{"filter-14", filterBits(14)},
	{"files-8m", files(8 << 20)},
	{"files-8m-index-1m", together(files(8<<20), indexSize(1<<20))},
	{"files-8m-index-1m-block-4k", together(files(8<<20), indexSize(1<<20), blockSize(4<<10))},
	{"memtable-8m", memtable(8 << 20)},
	{"memtable-16m", memtable(16 << 20)},
	{"memtable-32m", memtable(32 << 20)},
	{"l0-2", func(o *pebble.Options) { o.L0CompactionThreshold = 2 }},
	{"l0-8", func(o *pebble.Options) { o.L0CompactionThreshold = 8 }},
	{"lbase-128m", func(o *pebble.Options) { o.LBaseMaxBytes = 128 << 20 }},
	{"lbase-256m", func(o *pebble.Options) { o.LBaseMaxBytes = 256 << 20 }},
	{"compactions-2", func(o *pebble.Options) {
		o.CompactionConcurrencyRange = func() (int, int) { return 1, 2 }
		o.Experimental.L0CompactionConcurrency = 2
		o.Experimental.CompactionDebtConcurrency = 256 << 20
	}},
	{"no-multilevel", func(o *pebble.Options) { o.Experimental.MultiLevelCompactionHeuristic = pebble.NoMultiLevel{} }},
	{"blobs", func(o *pebble.Options) {
		o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
			return pebble.ValueSeparationPolicy{
				Enabled: true, MinimumSize: 64, MaxBlobReferenceDepth: 10, RewriteMinimumAge: time.Minute,
				TargetGarbageRatio: 0.3,
			}
		}
	}},
}

func together(changes ...func(*pebble.Options)) func(*pebble.Options) {
	return func(o *pebble.Options) {
		for _, change := range changes {
			change(o)
		}
	}
}

func files(n int64) func(*pebble.Options) {
	return func(o *pebble.Options) { o.TargetFileSizes[0] = n }
}

func indexSize(n int) func(*pebble.Options) {
	return func(o *pebble.Options) {
		for i := range o.Levels {
			o.Levels[i].IndexBlockSize = n
		}
	}
}

func blockSize(n int) func(*pebble.Options) {
	return func(o *pebble.Options) {
		for i := range o.Levels {
			o.Levels[i].BlockSize = n
		}
	}
}

func memtable(n uint64) func(*pebble.Options) {
	return func(o *pebble.Options) { o.MemTableSize = n }
}

func filterBits(n int) func(*pebble.Options) {
	return func(o *pebble.Options) { setFilters(o, bloom.FilterPolicy(n)) }
}

// compression sets what the bottom level and the levels above have.
func compression(above, bottom *sstable.CompressionProfile) func(*pebble.Options) {
	return func(o *pebble.Options) {
		for i := range o.Levels {
			profile := above
			if i == len(o.Levels)-1 {
				profile = bottom
			}
			o.Levels[i].Compression = func() *sstable.CompressionProfile { return profile }
		}
	}
}

// BenchmarkSettings writes rows of 20 + 110 bytes, each once in random order and then half of them again, in batches
// of 4,000 as checkpoints do, and reads beside a block cache of 64 MiB that does not hold them. All figures are
// microseconds of the process's CPU for each row, with the compactions that writing brings.
//
//	go test -run - -bench Settings/block -benchtime 1x ./state/pebble -rows 4000000
func BenchmarkSettings(b *testing.B) {
	for _, s := range settings {
		b.Run(s.name, func(b *testing.B) {
			for b.Loop() {
				d := openRows(b, *rowsOfSettings, s.change)
				d.write(b)
				d.read(b)
				d.close(b)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// rowsOf is a database with rows whose numbers are below count. Numbers from count on are absent.
type rowsOf struct {
	engine *Engine
	db     *pebble.DB
	count  int
	r      *rand.Rand
}

func openRows(b *testing.B, count int, change func(*pebble.Options)) *rowsOf {
	dir, err := os.MkdirTemp("", "settings-")
	require.NoError(b, err)
	e, err := openWith(dir, Options{}, change)
	require.NoError(b, err)
	return &rowsOf{engine: e, db: e.db, count: count, r: rand.New(rand.NewPCG(1, 2))}
}

func (d *rowsOf) close(b *testing.B) {
	require.NoError(b, d.engine.Close())
	require.NoError(b, os.RemoveAll(d.engine.dir))
}

// numberBits is the width of the permutation that makes keys of numbers.
const numberBits = 32

// appendRowKey makes keys that lie apart from those of neighboring numbers, absent ones among the present.
func appendRowKey(dst []byte, number int) []byte {
	scattered := uint32(number) * 2654435761 // odd: a permutation of 32 bits
	return fmt.Appendf(dst, "\x00\x01\x00\x02key-%012d", uint64(scattered)*1_000_000_000_000>>numberBits)
}

// appendRowValue makes 110 bytes, which shrink by half unless they are random.
func appendRowValue(dst []byte, r *rand.Rand) []byte {
	const text = `{"customer":"","amount":,"currency":"EUR","open":true,`
	letters := 110
	if !*randomValues {
		dst, letters = append(dst, text...), letters-len(text)
	}
	for x := uint64(0); letters > 0; letters-- {
		if x < 16 {
			x = r.Uint64()
		}
		dst = append(dst, 'a'+byte(x)&15)
		x >>= 4
	}
	return dst
}

// cpuOf is the CPU time of this process that a function takes, with what runs beside it.
func cpuOf(b *testing.B, f func()) time.Duration {
	var before, after syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &before))
	f()
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &after))
	return time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
}

// per reports the microseconds that each of n took.
func (d *rowsOf) per(b *testing.B, unit string, n int, f func()) {
	b.ReportMetric(float64(cpuOf(b, f).Nanoseconds())/1e3/float64(n), unit)
}

const rowsInBatch = 4000

func (d *rowsOf) write(b *testing.B) {
	order := d.r.Perm(d.count)
	began := time.Now()
	d.per(b, "µs/insert", d.count, func() { d.commit(b, order) })
	b.ReportMetric(time.Since(began).Seconds(), "s-inserts")
	again := make([]int, d.count/2)
	for i := range again {
		again[i] = d.r.IntN(d.count)
	}
	d.per(b, "µs/update", len(again), func() { d.commit(b, again) })
	m := d.db.Metrics()
	total := m.Total()
	b.ReportMetric(float64(m.DiskSpaceUsage())/(1<<20), "MiB-disk")
	b.ReportMetric(float64(total.TableBytesFlushed+total.TableBytesCompacted+total.BlobBytesFlushed+
		total.BlobBytesCompacted)/float64(130*(d.count+len(again))), "write-amp")
}

// commit writes rows and waits until the tree is settled.
func (d *rowsOf) commit(b *testing.B, numbers []int) {
	for batch := range slices.Chunk(numbers, rowsInBatch) {
		w := d.engine.NewBatch(0)
		for _, r := range d.sorted(batch) {
			require.NoError(b, w.Set(r.key, r.value))
		}
		require.NoError(b, w.Commit())
	}
	require.NoError(b, d.engine.Flush())
	d.settle()
}

// numbered is the row of a number.
type numbered struct{ key, value []byte }

// sorted makes rows, sorted by key.
func (d *rowsOf) sorted(numbers []int) []numbered {
	rows := make([]numbered, len(numbers))
	for i, n := range numbers {
		rows[i] = numbered{appendRowKey(nil, n), appendRowValue(nil, d.r)}
	}
	slices.SortFunc(rows, func(a, b numbered) int { return slices.Compare(a.key, b.key) })
	return rows
}

// settle waits until no flush and no compaction is left to do.
func (d *rowsOf) settle() {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for idle := 0; idle < 5; {
		<-tick.C
		idle++
		if m := d.db.Metrics(); m.Compact.NumInProgress+m.Flush.NumInProgress > 0 {
			idle = 0
		}
	}
}

func (d *rowsOf) read(b *testing.B) {
	const reads = 30_000
	present := func() []byte { return appendRowKey(nil, d.r.IntN(d.count)) }
	absent := func() []byte { return appendRowKey(nil, d.count+d.r.IntN(d.count)) }
	keys := func(n int, make func() []byte) [][]byte {
		out := [][]byte{}
		for range n {
			out = append(out, make())
		}
		return out
	}
	mixed := func() []byte {
		if d.r.IntN(100) < 63 {
			return present()
		}
		return absent()
	}
	for _, key := range keys(2*reads, mixed) { // what is hot is in the cache
		_, _, err := d.engine.Get(nil, key)
		require.NoError(b, err)
	}
	for _, way := range []struct {
		name string
		keys [][]byte
	}{{"present", keys(reads, present)}, {"absent", keys(reads, absent)}} {
		d.per(b, "µs/get-"+way.name, reads, func() {
			for _, key := range way.keys {
				v, c, err := d.db.Get(key)
				if err == nil {
					_, err = len(v), c.Close()
				}
				if (err == nil) != (way.name == "present") {
					b.Fatal(way.name, err)
				}
			}
		})
		d.per(b, "µs/seek-"+way.name, reads, func() {
			for _, key := range way.keys {
				it := d.filtered(b)
				if it.SeekPrefixGE(key) != (way.name == "present") || it.Close() != nil {
					b.Fatal(way.name)
				}
			}
		})
		it := d.filtered(b)
		d.per(b, "µs/reused-"+way.name, reads, func() {
			for _, key := range way.keys {
				if it.SeekPrefixGE(key) != (way.name == "present") {
					b.Fatal(way.name, it.Error())
				}
			}
		})
		require.NoError(b, it.Close())
	}
	for _, n := range []int{1024, 16384} {
		batches := slices.Collect(slices.Chunk(keys(2*16384, mixed), n))
		for _, batch := range batches {
			slices.SortFunc(batch, slices.Compare)
		}
		d.per(b, fmt.Sprintf("µs/sorted-%d", n), 2*16384, func() {
			for _, batch := range batches {
				it := d.filtered(b)
				for _, key := range batch {
					if it.SeekPrefixGE(key) {
						_ = it.Value()
					}
				}
				require.NoError(b, cmp.Or(it.Error(), it.Close()))
			}
		})
	}
}

func (d *rowsOf) filtered(b *testing.B) *pebble.Iterator {
	it, err := d.db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	require.NoError(b, err)
	return it
}
