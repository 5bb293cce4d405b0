package broker_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/broker"
	"thalweg/broker/brokertest"
)

// A file TIME that is damaged moves no clock: one that is far ahead would make all records old.
func TestADamagedTimeIsAsGoodAsNone(t *testing.T) {
	clock := brokertest.NewClock()
	now := clock.Now()
	good := string(broker.TimeText(now.Add(time.Hour)))
	for name, test := range map[string]struct {
		content string
		warned  bool
	}{
		"none":                   {"", false},
		"a time":                 {good, false},
		"of an earlier version":  {good[:20] + "\n", false},
		"with something behind":  {good + "more", false},
		"garbage":                {"garbage\n", true},
		"a number":               {"7", true},
		"a negative one":         {"-0000001700000000000\n", true},
		"torn":                   {good[:20], true},
		"another digit":          {good[:9] + "9" + good[10:], true},
		"another checksum":       {good[:28] + "x\n", true},
		"far ahead":              {"00999999999999999999\n", true},
		"overwritten by earlier": {good[:20] + "\n" + good[21:], false},
	} {
		t.Run(name, func(t *testing.T) {
			fs, seen := vfs.NewMem(), &journal{}
			at := []brokertest.Option{brokertest.On(fs), brokertest.At(clock), seen.logTo()}
			b := brokertest.New(t, at...)
			topicWith(t, b, "t", "retention.ms", "86400000")
			require.NoError(t, put(t, b, "t", "v", now))
			require.NoError(t, b.Close())
			overwrite(t, fs, "broker/TIME", test.content)
			report, err := broker.Check(fs, "broker")
			require.NoError(t, err)
			require.False(t, report.Damaged())
			require.Equal(t, test.warned, len(report.Findings) == 1)
			b = brokertest.New(t, at...)
			warned := seen.lines("level=WARN", "file=broker/TIME")
			require.Equal(t, test.warned, len(warned) == 1, warned)
			clock.Advance(5 * time.Minute)
			start, end := span(t, b, "t")
			require.EqualValues(t, 0, start)
			require.EqualValues(t, 1, end)
			require.NoError(t, b.Close())
			_, err = broker.ParseTime([]byte(content(t, fs, "broker/TIME")))
			require.NoError(t, err, "it is written again")
		})
	}
}

func FuzzTime(f *testing.F) {
	now := time.UnixMilli(1_700_000_000_000)
	f.Add(broker.TimeText(now))
	f.Add(broker.TimeText(now)[:21])
	f.Add([]byte("00000001700000000000\n"))
	f.Add([]byte("99999999999999999999 00000000\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		before := bytes.Clone(content)
		at, err := broker.ParseTime(content)
		require.Equal(t, before, content)
		if err != nil {
			return
		}
		require.Less(t, at.Year(), 2300)
		again, err := broker.ParseTime(broker.TimeText(at))
		require.NoError(t, err)
		require.Equal(t, at, again)
		require.True(t, bytes.HasPrefix(content, broker.TimeText(at)[:20]))
	})
}
