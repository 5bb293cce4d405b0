package log

// fsyncInProgress is an fsync of a log in progress: what was written when it began. It holds l.sync.
type fsyncInProgress struct {
	l     *Log
	files []unsyncedFile
	dir   bool
	end   int64
}

// fsync makes everything written so far durable. It returns the log's failure.
func (l *Log) fsync() error {
	f, err := l.beginFsync()
	if f == nil {
		return err
	}
	return f.finish(f.sync())
}

// fsyncTogether is fsync for a log that is closed with others.
func (l *Log) fsyncTogether(together *Together) error {
	f, err := l.beginFsync()
	if f == nil {
		return err
	}
	if len(f.files) == 0 && !f.dir || !l.syncs() {
		return f.finish(nil)
	}
	return f.finish(together.fsync(f.sync))
}

// beginFsync returns nil for a log that has failed or is closed. Otherwise finish has to follow.
func (l *Log) beginFsync() (*fsyncInProgress, error) {
	l.sync.Lock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.Err(); err != nil || l.closed {
		l.sync.Unlock()
		return nil, err
	}
	f := &fsyncInProgress{l: l, files: l.unsynced, dir: l.dirUnsynced, end: l.end.Load()}
	l.unsynced, l.dirUnsynced = nil, false
	return f, nil
}

// sync syncs the files one after the other.
func (f *fsyncInProgress) sync() error {
	l := f.l
	if !l.syncs() {
		return nil
	}
	for _, u := range f.files {
		if err := l.timed(u.segment.sync); err != nil {
			return err
		}
	}
	if !f.dir {
		return nil
	}
	return l.timed(func() error { return syncDir(l.options.FS, l.options.Dir) })
}

// finish publishes what is durable now, or makes the log fail. It returns the log's failure.
func (f *fsyncInProgress) finish(err error) error {
	l := f.l
	defer l.sync.Unlock()
	l.options.Files.clean(l, f.files)
	if err != nil {
		l.fail(err)
		return l.Err()
	}
	if err := l.Err(); err != nil { // it was closed meanwhile, and a file perhaps before it was synced
		return err
	}
	l.advance(f.end)
	if !l.syncs() {
		return nil
	}
	if err := l.noteSynced(f.end); err != nil {
		l.options.Logger.Warn("checkpoint not written", "partition", l.options.name(), "err", err)
	}
	return nil
}

// noteSynced notes how far the log is synced, without an fsync: see checkpoint. A log that can't note it is as safe as
// before. Where nothing is new, the mark of a clean close stays.
func (l *Log) noteSynced(end int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || end <= l.checkpoint.synced {
		return nil
	}
	return l.saveCheckpoint(func(cp *checkpoint) { cp.synced = end }, nil)
}

// forgetUnsynced lets the files go whose writes are not synced any more, in a log that has failed.
func (l *Log) forgetUnsynced() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.options.Files.clean(l, l.unsynced)
	l.unsynced = nil
}
