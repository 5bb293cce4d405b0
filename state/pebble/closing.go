package pebble

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// closeSilence is how long a step of Close takes before the log says what it waits for.
const closeSilence = time.Second

// closeDB flushes and closes the database. Pebble can't interrupt a compaction: it ends first.
func (e *Engine) closeDB() (err error) {
	if !e.readOnly {
		err = e.waitFor(func() string { return "rows in memory to be flushed to the disk" }, e.db.Flush)
	}
	return errors.Join(err, e.waitFor(e.closeWaitsFor, e.db.Close))
}

func (e *Engine) closeWaitsFor() string {
	if bytes := e.compacting.Load(); bytes > 0 {
		return fmt.Sprintf("a compaction of %d bytes to end, which can't be interrupted", bytes)
	}
	return "files to be closed"
}

// compactionBytes is how much a compaction reads.
func compactionBytes(info pebble.CompactionInfo) (sum int64) {
	for _, level := range info.Input {
		for _, t := range level.Tables {
			sum += int64(t.Size)
		}
	}
	return sum
}

// waitFor makes a step of Close, and logs what it is where it takes long.
func (e *Engine) waitFor(what func() string, step func() error) error {
	said := make(chan struct{})
	stop := e.space.clock.AfterFunc(closeSilence, func() {
		defer close(said)
		e.space.log.Info("state engine: closing takes longer than a second", "directory", e.dir, "waits for", what())
	})
	err := step()
	if !stop() {
		<-said // the caller may close the log next
	}
	return err
}
