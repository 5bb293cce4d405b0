package runtime

import "time"

// restoreProgress is how far the restore of a store is, and how fast it goes.
type restoreProgress struct {
	Restore
	began time.Time
	last  struct { // at the last report
		at                       time.Time
		position, records, bytes int64
	}
	offsetsPerSecond float64
}

// reportEvery is the time between two reports of progress.
const reportEvery = time.Second

func (p *restoreProgress) begin(now time.Time) {
	p.began, p.last.at, p.last.position = now, now, p.Start
}

func (p *restoreProgress) due(now time.Time) bool { return now.Sub(p.last.at) >= reportEvery }

// report is how far it is now. The speed is that of the last seconds: a changelog is read faster or slower by what else
// the machine does.
func (p *restoreProgress) report(now time.Time) Restore {
	p.Elapsed = now.Sub(p.began)
	if span := now.Sub(p.last.at).Seconds(); span > 0 {
		p.RecordsPerSecond = blend(p.RecordsPerSecond, float64(p.Records-p.last.records)/span)
		p.BytesPerSecond = blend(p.BytesPerSecond, float64(p.Bytes-p.last.bytes)/span)
		p.offsetsPerSecond = blend(p.offsetsPerSecond, float64(p.Position-p.last.position)/span)
		p.last.at, p.last.position, p.last.records, p.last.bytes = now, p.Position, p.Records, p.Bytes
	}
	p.Remaining = 0
	if left := p.End - p.Position; left > 0 && p.offsetsPerSecond > 0 {
		p.Remaining = time.Duration(float64(left) / p.offsetsPerSecond * float64(time.Second))
	}
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
		int64(r.BytesPerSecond), "left", max(r.End-r.Position, 0), "remaining", r.Remaining.Round(time.Second / 10),
	}
}
