package task

// What Ready does is tested in parts, too.

func (t *Task) Flush() error {
	if err := t.life.ready("flush"); err != nil {
		return err
	}
	return t.flush()
}

func (t *Task) Offsets() []Offset { return t.progress.offsets() }
func (t *Task) Times() []Time     { return t.progress.changedTimes() }
