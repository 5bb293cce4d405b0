package task

import (
	"fmt"
	"math"

	"thalweg/internal/batch"
)

// A Follower applies changelogs to the stores of a task as their batches come. Restoring ends at the offsets where the
// changelogs ended when it began; a standby follows them for as long as another worker runs the task. It does no I/O:
// its caller fetches from the positions of [Follower.Logs].
//
// What was added gathers in memory until Save, or until there is more than BytesMax. Then it goes to the engine with
// the positions, and a process that is killed continues from there.
type Follower struct {
	// BytesMax is how much may gather between two writes to the engine. It may change at any time. 0: no limit.
	BytesMax int
	// Write calls what writes to the engine, which may take seconds, and returns its error. Nil: it is called as it is.
	Write func(write func() error) error

	task     *Task
	logs     []*Followed
	gathered int // of the write that is under way
}

// Followed is a changelog, and how far the store has it.
type Followed struct {
	Changelog       // Position is where to go on; Known is not used
	Start     int64 // where following began
	End       int64 // where restoring ends; Endless: never
	Records   int64 // that the store has taken since Start
	Bytes     int64 // of their batches
}

// Endless is the end of a changelog that is followed, not restored.
const Endless int64 = math.MaxInt64

// Done tells that the end is reached.
func (l *Followed) Done() bool { return l.Position >= l.End }

// Left is how many offsets there are up to the end.
func (l *Followed) Left() int64 { return max(l.End-l.Position, 0) }

// NewFollower begins to restore a task, or to follow for it where a changelog has no end. The positions are where the
// stores are. A Follower, and the task until it is done, belong to one goroutine at a time.
func (t *Task) NewFollower(logs []Followed) (*Follower, error) {
	state := Restoring
	f := &Follower{task: t}
	for _, l := range logs {
		if l.End == Endless {
			state = Standby
		}
		l.Start = l.Position
		f.logs = append(f.logs, &l)
	}
	if t.life.state != state {
		if err := t.life.move(state); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// Logs are what is followed. They are the follower's, which moves them.
func (f *Follower) Logs() []*Followed { return f.logs }

// Done tells that all ends are reached. What was added last may not be saved.
func (f *Follower) Done() bool {
	for _, l := range f.logs {
		if !l.Done() {
			return false
		}
	}
	return true
}

// Left is how many offsets there are up to the ends.
func (f *Follower) Left() (sum int64) {
	for _, l := range f.logs {
		sum += l.Left()
	}
	return sum
}

// Add applies what was fetched of a changelog: batches in order, after which everything below next has come. The first
// may begin before the position. What lies at the end or beyond is left out.
func (f *Follower) Add(l *Followed, batches []batch.Batch, next int64) error {
	for _, b := range batches {
		if b.BaseOffset() >= l.End {
			break
		}
		taken, err := f.task.Stores.Restore(l.Store, l.Position, b)
		if err != nil {
			return fmt.Errorf("task %s: restore of store %s from topic %s partition %d: %w", f.task.id, l.Store, l.Topic,
				l.Partition, err)
		}
		l.Records += taken
		l.Bytes += int64(b.Size())
		l.Position = max(l.Position, min(b.LastOffset()+1, l.End))
		if f.BytesMax > 0 && f.Bytes() > f.BytesMax {
			if err := f.Save(); err != nil {
				return err
			}
		}
	}
	l.Position = max(l.Position, min(next, l.End)) // beyond the end are control records at most
	return nil
}

// Bytes is about the memory of what waits to be saved.
func (f *Follower) Bytes() int { return f.task.tx.RestoringBytes() }

// Gathered is about how many bytes the write has that is under way. Unlike Bytes it may be asked while there is one.
func (f *Follower) Gathered() int { return f.gathered }

// Save writes what was added to the engine, with the positions.
func (f *Follower) Save() error {
	if f.Write == nil {
		return f.save()
	}
	f.gathered = f.Bytes()
	return f.Write(f.save)
}

func (f *Follower) save() error {
	if f.task.life.state == Standby {
		f.task.tx.RestoreGiveUp()
	}
	return f.task.Stores.Checkpoint(func(store string) int64 {
		for _, l := range f.logs {
			if l.Store == store {
				return l.Position
			}
		}
		return -1
	})
}

// Restart empties a store and goes on at an offset: its changelog has lost what the store lacks.
func (f *Follower) Restart(l *Followed, from int64) error {
	if err := f.task.Stores.Wipe(l.Store); err != nil {
		return err
	}
	l.Start, l.Position, l.Records, l.Bytes = from, from, 0, 0
	return nil
}
