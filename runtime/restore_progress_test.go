package runtime

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"thalweg/internal/task"
)

// Of a changelog with 10,000,000 offsets compaction has left 500,000 records of the first 9,000,000, and all of the
// last 1,000,000. At 100,000 records a second its restore takes 15 seconds.
func compactedChangelog(second int) (position, records int64) {
	records = int64(second) * 100_000
	if records <= 500_000 {
		return records * 18, records
	}
	return 9_000_000 + records - 500_000, records
}

// What is said to remain is never less than what does, whether the size of the changelog is known or not; where it is
// known it is right.
func TestRemainingTimeOfACompactedChangelog(t *testing.T) {
	const recordBytes, seconds = 100, 15
	for name, size := range map[string]int64{"known": seconds * 100_000 * recordBytes, "unknown": 0} {
		t.Run(name, func(t *testing.T) {
			now := time.UnixMilli(0)
			p := &restoreProgress{Restore: Restore{End: 10_000_000}, sizeBytes: size}
			p.begin(now)
			for second := 1; second < seconds; second++ {
				now = now.Add(time.Second)
				p.Position, p.Records = compactedChangelog(second)
				p.Bytes = p.Records * recordBytes
				remaining := p.report(now).Remaining.Round(time.Millisecond)
				left := time.Duration(seconds-second) * time.Second
				require.GreaterOrEqual(t, remaining, left, "after %d seconds", second)
				if size > 0 || second > 5 {
					require.Equal(t, left, remaining, "after %d seconds", second)
				}
			}
		})
	}
}

// No time remains that is not known, and none is without bound.
func TestRemainingTimeWithoutSpeed(t *testing.T) {
	now := time.UnixMilli(0)
	p := &restoreProgress{Restore: Restore{End: 1 << 60}}
	p.begin(now)
	require.Zero(t, p.report(now.Add(time.Second)).Remaining)
	p.Records, p.Position = 1, 1
	require.Equal(t, remainingMost, p.report(now.Add(2*time.Second)).Remaining)
	p.Position = p.End
	require.Zero(t, p.report(now.Add(3*time.Second)).Remaining)
}

// The log has a line each second while what was read is written, also where nothing is left to read.
func TestARestoreReportsWhileItWrites(t *testing.T) {
	var log bytes.Buffer
	now := time.UnixMilli(0)
	logger := slog.New(slog.NewTextHandler(&log, nil))
	a := &app{cfg: Config{Logger: logger, Clock: func() time.Time {
		now = now.Add(time.Second)
		return now
	}}}
	s := &restore{Followed: &task.Followed{End: 100}}
	s.Store, s.Position, s.Records = "rows", 100, 7
	s.progress.begin(now)
	r := &restoring{owner: &restores{app: a, log: logger}, job: &job{}, follower: &task.Follower{}, stores: []*restore{s}}
	ticks, failed := make(chan time.Time), errors.New("no space")
	err := r.reportWhile(func() error {
		for range 3 {
			ticks <- time.Time{}
		}
		return failed
	}, ticks)
	require.ErrorIs(t, err, failed)
	require.Equal(t, 3, strings.Count(log.String(), "store=rows records=7"), "%s", &log)
	require.Contains(t, log.String(), "bytes being written")
	require.Len(t, *r.reports.Load(), 1)
	require.Equal(t, 3*time.Second, (*r.reports.Load())[0].Elapsed)
}
