package broker_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"thalweg/broker"
	"thalweg/broker/brokertest"
)

// findings returns those of damage, or the others, each as one line.
func findings(r *broker.CheckReport, damage bool) (lines []string) {
	for _, f := range r.Findings {
		if f.Damage == damage {
			lines = append(lines, f.Path+": "+f.Text)
		}
	}
	return lines
}

func TestCheckOfADirectoryAtRest(t *testing.T) {
	fs := vfs.NewMem()
	b := brokertest.New(t, brokertest.On(fs), brokertest.Configure(func(cfg *broker.Config) {
		cfg.SegmentBytes = 1 << 20
	}))
	createTopic(t, b, 2, "t")
	client := brokertest.Client(t, b, kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(50_000))
	produceValues(t, client, "t", strings.Repeat("value", 2000), 600) // several segments
	p := newRawProducer(t, b, "tx")
	require.NoError(t, p.produce(0, "open"))
	require.NoError(t, commitOffset(t, b, "g", "t", 0, 1))
	require.NoError(t, b.Backup(within(t), "copy"))
	require.NoError(t, b.Close())
	for _, dir := range []string{"broker", "copy"} {
		r, err := broker.Check(fs, dir)
		require.NoError(t, err)
		require.Empty(t, r.Findings, dir)
		require.Equal(t, 3, r.Topics)
		require.Equal(t, 4, r.Partitions)
		require.Greater(t, r.Records, int64(600))
	}
	_, err := broker.Check(fs, "nosuch")
	require.ErrorContains(t, err, "no broker's data directory")

	names, err := fs.List("copy/t-0")
	require.NoError(t, err)
	slices.Sort(names)
	var segments, indexes []string
	for _, name := range names {
		if strings.HasSuffix(name, ".log") {
			segments = append(segments, name)
		}
		if strings.HasSuffix(name, ".index") {
			indexes = append(indexes, name)
		}
	}
	require.Greater(t, len(segments), 1)
	for what, damage := range map[string]func() (undo func()){
		"no batch at byte": func() func() {
			brokertest.Flip(t, fs, "copy/t-0/"+segments[0], 100)
			return func() { brokertest.Flip(t, fs, "copy/t-0/"+segments[0], 100) }
		},
		"t-0/" + indexes[0] + ": ": func() func() {
			brokertest.Flip(t, fs, "copy/t-0/"+indexes[0], 3)
			return func() { brokertest.Flip(t, fs, "copy/t-0/"+indexes[0], 3) }
		},
		"__transaction_state-0: the directory of the partition is missing": func() func() {
			require.NoError(t, fs.Rename("copy/__transaction_state-0", "aside"))
			return func() { require.NoError(t, fs.Rename("aside", "copy/__transaction_state-0")) }
		},
		"offsets from 0 on are missing": func() func() {
			require.NoError(t, fs.Rename("copy/t-0/"+segments[0], "aside"))
			return func() { require.NoError(t, fs.Rename("aside", "copy/t-0/"+segments[0])) }
		},
		"synced to the disk up to": func() func() {
			last := segments[len(segments)-1]
			require.NoError(t, fs.Rename("copy/t-0/"+last, "aside"))
			return func() { require.NoError(t, fs.Rename("aside", "copy/t-0/"+last)) }
		},
	} {
		undo := damage()
		r, err := broker.Check(fs, "copy")
		require.NoError(t, err)
		require.Contains(t, strings.Join(findings(r, true), "\n")+strings.Join(findings(r, false), "\n"), what)
		undo()
		r, err = broker.Check(fs, "copy")
		require.NoError(t, err)
		require.Empty(t, r.Findings, what)
	}
}

// What a crash leaves is no damage: the next start clears it up, and so says the check.
func TestCheckAfterACrash(t *testing.T) {
	fs := vfs.NewCrashableMem()
	b := brokertest.New(t, brokertest.On(fs))
	createTopic(t, b, 1, "t")
	produceValues(t, brokertest.Client(t, b), "t", "v", 10)
	left := fs.CrashClone(vfs.CrashCloneCfg{})
	appendBytes(t, left, "broker/t-0/00000000000000000000.log", make([]byte, 50)) // half a batch
	r, err := broker.Check(left, "broker")
	require.NoError(t, err)
	require.False(t, r.Damaged())
	require.Len(t, findings(r, false), 1)
	require.Contains(t, findings(r, false)[0], "50 bytes at the end are no batch")
	b = brokertest.New(t, brokertest.On(left))
	require.Len(t, valuesOf(t, b, "t", 0), 10)
}
