package runtime

import (
	"context"
	"time"

	"thalweg/internal/kclient"
)

// restoreProgress is how far the restore of a store is, and how fast it goes.
type restoreProgress struct {
	Restore
	began time.Time
	last  struct { // at the last report
		at                       time.Time
		position, records, bytes int64
	}
	told             time.Time // the last line of the log
	offsetsPerSecond float64
	sizeBytes        int64 // of the whole partition; 0: not known
}

// reportEvery is the time between two reports of progress.
const reportEvery = time.Second

func (p *restoreProgress) begin(now time.Time) {
	p.began, p.last.at, p.last.position = now, now, p.Start
	p.last.records, p.last.bytes = 0, 0
	p.told = now
}

func (p *restoreProgress) due(now time.Time) bool { return now.Sub(p.last.at) >= reportEvery }

// report is how far it is now. The speed is that of the last seconds: a changelog is read faster or slower by what else
// the machine does.
func (p *restoreProgress) report(now time.Time) Restore {
	p.told = now
	p.Elapsed = now.Sub(p.began)
	if span := now.Sub(p.last.at).Seconds(); span > 0 {
		p.RecordsPerSecond = blend(p.RecordsPerSecond, float64(p.Records-p.last.records)/span)
		p.BytesPerSecond = blend(p.BytesPerSecond, float64(p.Bytes-p.last.bytes)/span)
		p.offsetsPerSecond = blend(p.offsetsPerSecond, float64(p.Position-p.last.position)/span)
		p.last.at, p.last.position, p.last.records, p.last.bytes = now, p.Position, p.Records, p.Bytes
	}
	p.Remaining = p.remaining()
	return p.Restore
}

// remaining is how long it takes at most, at the speed of the last seconds. Compaction leaves few records in a range of
// offsets, and where it ends is not known: no more than one record lies at each offset that is left, and no more bytes
// are left than the partition has beyond those that were read.
func (p *restoreProgress) remaining() time.Duration {
	left := p.End - p.Position
	if left <= 0 {
		return 0
	}
	var seconds float64
	switch {
	case p.RecordsPerSecond > 0:
		seconds = float64(left) / p.RecordsPerSecond
	case p.offsetsPerSecond > 0: // none of the records is a row
		seconds = float64(left) / p.offsetsPerSecond
	}
	if p.BytesPerSecond > 0 && p.sizeBytes > p.Bytes {
		if byBytes := float64(p.sizeBytes-p.Bytes) / p.BytesPerSecond; seconds == 0 || byBytes < seconds {
			seconds = byBytes
		}
	}
	return time.Duration(min(seconds, remainingMost.Seconds()) * float64(time.Second))
}

// remainingMost bounds an estimate.
const remainingMost = 1000 * time.Hour

// silent tells that there is something to be said, though nothing moves. Ticks do not come on the dot.
func (p *restoreProgress) silent(now time.Time) bool { return now.Sub(p.told) >= reportEvery*9/10 }

// waiting is the last report, while what was read is written.
func (p *restoreProgress) waiting(now time.Time) Restore {
	p.told = now
	p.Elapsed = now.Sub(p.began)
	return p.Restore
}

// end is the last report, whose speed is that of the whole.
func (p *restoreProgress) end(now time.Time) Restore {
	p.Elapsed, p.Remaining = now.Sub(p.began), 0
	if span := p.Elapsed.Seconds(); span > 0 {
		p.RecordsPerSecond, p.BytesPerSecond = float64(p.Records)/span, float64(p.Bytes)/span
	}
	return p.Restore
}

// blend is a speed that a new measurement moves by half.
func blend(before, now float64) float64 {
	if before == 0 {
		return now
	}
	return (before + now) / 2
}

// attributes are the report for a log line.
func (r Restore) attributes() []any {
	return []any{
		"records", r.Records, "bytes", r.Bytes, "records per second", int64(r.RecordsPerSecond), "bytes per second",
		int64(r.BytesPerSecond), "offsets left", max(r.End-r.Position, 0), "remaining at most",
		r.Remaining.Round(time.Second / 10),
	}
}

// sizesPatience is how long a restore waits for the sizes of partitions, which only its reports need.
const sizesPatience = time.Second

// sizes asks how large partitions are. Where nobody tells, reports go without.
func (a *app) sizes(tps ...kclient.TopicPartition) map[kclient.TopicPartition]int64 {
	ctx, cancel := context.WithTimeout(context.Background(), sizesPatience)
	defer cancel()
	sizes, err := a.control.Topics().SizesBytes(ctx, tps...)
	if err != nil {
		a.cfg.Logger.Debug("can't ask for the sizes of what is restored: how long it takes is estimated without them",
			"application", a.cfg.ApplicationID, "err", err)
	}
	return sizes
}
