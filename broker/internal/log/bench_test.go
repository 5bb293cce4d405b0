package log

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/batch"
	"thalweg/internal/invariant"
)

func diskBench(b *testing.B, mode Sync) *bench {
	bn := &bench{t: b, fs: vfs.Default, now: time.UnixMilli(1_700_000_000_000), memory: NewMemory(64 << 20)}
	bn.syncer = NewSyncer(SyncerOptions{Mode: mode})
	b.Cleanup(bn.syncer.Close)
	return bn
}

func (b *bench) openAt(dir string) *Log {
	o := b.options()
	o.Dir = dir
	l, err := Open(o)
	require.NoError(b.t, err)
	return l
}

// records of 100 B in batches of n.
func bigBatch(t testing.TB, n int) []byte {
	bld := batch.NewBuilder(batch.None)
	key, value := make([]byte, 16), make([]byte, 76)
	for i := range n {
		bld.Append(int64(i), key, value, nil)
	}
	raw, err := bld.Finish(batch.NoProducer())
	require.NoError(t, err)
	return raw
}

// BenchmarkAppend reports ns per record of 100 B: batches of 5000 records, written to the page cache of a real disk.
func BenchmarkAppend(b *testing.B) {
	for _, mode := range []Sync{SyncNever, SyncGroup} {
		b.Run(mode.String(), func(b *testing.B) {
			bn := diskBench(b, mode)
			bn.config.SegmentBytes = 256 << 20
			bn.config.Delete, bn.config.RetentionBytes = true, 256<<20
			l := bn.openAt(b.TempDir() + "/t-0")
			raw := bigBatch(b, 5000)
			b.SetBytes(100)
			b.ResetTimer()
			last := int64(0)
			for n, i := 0, 0; n < b.N; n, i = n+5000, i+1 {
				a, err := l.Append(raw)
				if err != nil {
					b.Fatal(err)
				}
				last = a.LastOffset
				if i%1000 == 999 {
					if err := l.Maintain(); err != nil {
						b.Fatal(err)
					}
				}
			}
			if err := l.WaitDurable(context.Background(), last); err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			require.NoError(b, l.Close())
		})
	}
}

// BenchmarkRead reports ns per record of 100 B, out of memory and out of the file.
func BenchmarkRead(b *testing.B) {
	for _, tail := range []int{8 << 20, 1} {
		b.Run(fmt.Sprintf("tail%d", tail), func(b *testing.B) {
			bn := diskBench(b, SyncNever)
			bn.config.TailBytes = tail
			l := bn.openAt(b.TempDir() + "/t-0")
			for range 10 {
				_, err := l.Append(bigBatch(b, 5000))
				require.NoError(b, err)
			}
			b.SetBytes(100)
			b.ResetTimer()
			for n := 0; n < b.N; {
				for offset := int64(0); offset < l.End() && n < b.N; {
					r, err := l.Read(offset, 1<<20, ReadUncommitted)
					if err != nil {
						b.Fatal(err)
					}
					next := endOf(r.Batches[len(r.Batches)-1])
					n += int(next - offset)
					offset = next
				}
			}
			b.StopTimer()
			require.NoError(b, l.Close())
		})
	}
}

// BenchmarkGroupCommit reports ns per durable append of 1 KiB by many clients on several partitions.
func BenchmarkGroupCommit(b *testing.B) {
	for _, c := range []struct{ clients, partitions int }{{1, 1}, {16, 1}, {64, 1}, {64, 6}} {
		b.Run(fmt.Sprintf("clients%d/partitions%d", c.clients, c.partitions), func(b *testing.B) {
			bn := diskBench(b, SyncGroup)
			dir := b.TempDir()
			var logs []*Log
			for i := range c.partitions {
				logs = append(logs, bn.openAt(fmt.Sprintf("%s/t-%d", dir, i)))
			}
			raw := bigBatch(b, 10)
			b.ResetTimer()
			var wg sync.WaitGroup
			for w := range c.clients {
				wg.Go(func() {
					l := logs[w%len(logs)]
					for range b.N/c.clients + 1 {
						a, err := l.Append(raw)
						if err == nil {
							err = l.WaitDurable(context.Background(), a.LastOffset)
						}
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			for _, l := range logs {
				require.NoError(b, l.Close())
			}
		})
	}
}

func TestAppendAllocatesPerChunkOnly(t *testing.T) {
	if invariant.Enabled {
		t.Skip("checking allocates")
	}
	bn := newBench(t, vfs.NewMem(), SyncNever)
	l := bn.open()
	raw := plain(t, recs(10)...)
	n := testing.AllocsPerRun(2000, func() {
		if _, err := l.Append(raw); err != nil {
			panic(err)
		}
	})
	require.LessOrEqual(t, n, 1.0)
	require.NoError(t, l.Close())
}
