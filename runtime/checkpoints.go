package runtime

import (
	"fmt"
	"slices"
	"time"
)

// checkpoints writes what is committed to the engine, so that it neither waits in memory for too long nor hides from
// queries.
type checkpoints struct {
	every  time.Duration // Config.State.CheckpointInterval
	purger *purger       // learns what has expired
	behind []*job        // have committed something that may not be in the engine
	since  time.Time     // the first commit that is not; zero: there is none
}

// add notes that a task's commits wait for a checkpoint.
func (c *checkpoints) add(j *job) {
	if !j.behind {
		j.behind = true
		c.behind = append(c.behind, j)
	}
}

// forget takes out a task that is closed.
func (c *checkpoints) forget(j *job) {
	if j.behind {
		j.behind = false
		c.behind = slices.DeleteFunc(c.behind, func(o *job) bool { return o == j })
	}
}

// committed notes that there was a commit, which began at a time.
func (c *checkpoints) committed(began time.Time) {
	if c.since.IsZero() {
		c.since = began
	}
}

// dueAt is when the next checkpoint is; ok is false where there is nothing to write.
func (c *checkpoints) dueAt() (at time.Time, ok bool) { return c.since.Add(c.every), !c.since.IsZero() }

// due writes the checkpoint that is due.
func (c *checkpoints) due(now time.Time) error {
	if at, ok := c.dueAt(); !ok || now.Before(at) {
		return nil
	}
	return c.write()
}

// write writes all that waits.
func (c *checkpoints) write() error {
	c.since = time.Time{}
	for n := len(c.behind) - 1; n >= 0; n-- {
		j := c.behind[n]
		if err := j.tx.Checkpoint(); err != nil {
			return fmt.Errorf("task %s: checkpoint: %w", j.id, err)
		}
		if err := j.noteExpired(c.purger); err != nil {
			return err
		}
		j.behind = false
		c.behind[n], c.behind = nil, c.behind[:n]
	}
	return nil
}
