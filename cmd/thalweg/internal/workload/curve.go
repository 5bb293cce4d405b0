package workload

import (
	"slices"
	"time"

	"thalweg/runtime"
)

// Step is a part of a run, in order of the input.
type Step struct {
	Records      int64   `json:"records"` // how many of the input were processed at its end
	WallSeconds  float64 `json:"wall_s"`
	CPUSeconds   float64 `json:"cpu_s"`
	PerCPUSecond float64 `json:"per_cpu_s"`
	RSSMiB       float64 `json:"rss_mib"`
}

// sample is how far an application was at a moment.
type sample struct {
	records, wall, cpu, rss float64
}

// sampleEvery is the time between two looks at an application; it publishes its figures every 100 ms at most.
const sampleEvery = 200 * time.Millisecond

// watch looks at an application until it is stopped, and returns what it saw.
func watch(app *runtime.App, since clock) (stop func() []sample) {
	quit, seen := make(chan struct{}), make(chan []sample)
	go func() {
		var samples []sample
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				at := since.spent()
				samples = append(samples, sample{float64(processed(app.Stats())), at.wall, at.cpu, status("self", "VmRSS:")})
			case <-quit:
				seen <- samples
				return
			}
		}
	}()
	return func() []sample {
		close(quit)
		return <-seen
	}
}

// processed is the sum of the offsets up to which the inputs were processed.
func processed(s runtime.Stats) (n int64) {
	for _, w := range s.Workers {
		for _, t := range w.Tasks {
			for _, in := range t.Inputs {
				n += in.Fetched - int64(in.BufferedRecords)
			}
		}
	}
	return n
}

// begun leaves out what was seen before an application went on where another run had ended.
func begun(samples []sample) []sample {
	i := slices.IndexFunc(samples, func(s sample) bool { return s.records > 0 })
	return samples[max(i, 0):]
}

// curve divides a run into equal parts of the input, and tells what each took. A part that was over before the first
// sample is left out.
func curve(samples []sample, parts int, total int64) (steps []Step) {
	if len(samples) == 0 || parts < 1 {
		return nil
	}
	last := samples[0]
	i := 0
	for part := 1; part <= parts; part++ {
		end := float64(total) * float64(part) / float64(parts)
		if end <= last.records {
			continue
		}
		for i < len(samples) && samples[i].records < end {
			i++
		}
		if i == len(samples) {
			return steps
		}
		at := between(samples[i-1], samples[i], end)
		s := Step{Records: int64(end), WallSeconds: at.wall - last.wall, CPUSeconds: at.cpu - last.cpu, RSSMiB: at.rss}
		if s.CPUSeconds > 0 {
			s.PerCPUSecond = (end - last.records) / s.CPUSeconds
		}
		steps, last = append(steps, s), at
	}
	return steps
}

// between is the moment at which so many records were processed, by a straight line between two samples.
func between(a, b sample, records float64) sample {
	share := (records - a.records) / (b.records - a.records)
	return sample{records, a.wall + share*(b.wall-a.wall), a.cpu + share*(b.cpu-a.cpu), b.rss}
}
