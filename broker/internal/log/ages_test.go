package log

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// TestAgesOutliveEverything appends, rolls, compacts, closes, cuts the power and lets time pass at random. Retention by
// time takes no record that was appended more recently than it says, and all records once that time is over.
func TestAgesOutliveEverything(t *testing.T) {
	const retention = time.Hour
	for range 40 {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 5))
			mem := vfs.NewCrashableMem()
			b := newBench(t, mem, SyncGroup)
			b.config = Config{SegmentBytes: 300, Delete: true, RetentionAge: retention, SegmentAge: 40 * time.Minute,
				Compact: rng.IntN(2) == 0, MinCleanable: 0.01}
			l := b.open()
			var appended []time.Time // by offset
			for range 60 {
				switch rng.IntN(6) {
				case 0:
					b.pass(time.Duration(rng.Int64N(int64(25 * time.Minute))))
				case 1:
					l = b.reopen(l)
				case 2: // what was acknowledged survives a power cut, and so does its age
					rest := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
					b.syncer.Close()
					require.NoError(t, l.Close())
					now, config := b.now, b.config
					mem = rest
					b = newBench(t, mem, SyncGroup)
					b.now, b.config = now, config
					l = b.open()
				case 3:
					require.NoError(t, upkeepOf(l))
				default:
					// Whatever the producer says.
					at := time.UnixMilli(rng.Int64N(4_000_000_000_000)).UnixMilli()
					appendDurable(t, l, plain(t, rec{at, fmt.Sprint(rng.IntN(3)), "value"}))
					appended = append(appended, b.clock())
				}
				require.EqualValues(t, len(appended), l.End())
				for _, at := range appended[:l.Start()] {
					require.GreaterOrEqual(t, b.clock().Sub(at), retention)
				}
			}
			l = b.reopen(l)
			b.pass(retention + time.Millisecond)
			require.NoError(t, upkeepOf(l))
			require.Equal(t, l.End(), l.Start())
			require.NoError(t, l.Close())
		})
	}
}
