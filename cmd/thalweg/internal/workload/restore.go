package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync/atomic"

	"github.com/google/uuid"

	"thalweg/runtime"
)

// restore fills a table, deletes the local state and measures the start until the table is there again.
func (p *place) restore(ctx context.Context, o Options, r *Result) (err error) {
	in, err := p.source(ctx, nil, []string{"uniq-1"}, o, r)
	if err != nil {
		return err
	}
	topo, err := restored(in.topics[0], o.Garbage)
	if err != nil {
		return err
	}
	id := in.topics[0] + "-restore-" + uuid.NewString()[:8]
	defer func() { err = errors.Join(err, p.removeTopics(ctx, id)) }()
	cfg := p.config(id, o)
	Workload{}.set(&cfg, o)
	if _, err := p.start(ctx, topo, cfg, in, nil); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(p.dir, "state")); err != nil {
		return err
	}
	var records atomic.Int64
	cfg.Hooks.RestoreEnded = func(end runtime.Restore) { records.Add(end.Records) }
	app, err := runtime.New(topo, cfg)
	if err != nil {
		return err
	}
	debug.FreeOSMemory()
	forgetPeak()
	done := make(chan error, 1)
	since := startClock()
	go func() { done <- app.Run(ctx) }()
	err = app.WaitRunning(ctx)
	r.spent(since.spent())
	err = errors.Join(err, app.Close(ctx), <-done) // hooks have been called when Run returns
	r.PeakRSSMiB = peakRSSMiB()
	if err != nil {
		return err
	}
	if records.Load() < r.Records {
		return fmt.Errorf("bench: %d records were restored, not %d", records.Load(), r.Records)
	}
	r.PerSecond, r.PerCPUSecond = float64(r.Records)/r.WallSeconds, float64(r.Records)/r.CPUSeconds
	r.Checked = fmt.Sprintf("%d records restored", records.Load())
	return nil
}
