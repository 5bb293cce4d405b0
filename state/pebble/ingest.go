package pebble

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/cockroachdb/pebble/v2/objstorage/objstorageprovider"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"thalweg/state/engine"
)

// ingestDir is where tables are written before they are ingested. A crash leaves some there, which nobody needs.
const ingestDir = "ingest"

// Ingest writes the rows to a table of their own and adds it to the database. When the table cannot be written the
// database is as it was: that is no failure for good.
func (e *Engine) Ingest(write func(engine.Rows) error) error {
	if err := e.enter(); err != nil {
		return err
	}
	defer e.leave()
	path := e.space.PathJoin(e.dir, ingestDir, fmt.Sprintf("%d.sst", e.ingested.Add(1)))
	rows, err := e.writeTable(path, write)
	if err == nil && rows > 0 {
		err = e.unlessDead(func() error {
			return errors.Join(e.db.Ingest(context.Background(), []string{path}), e.changed())
		})
	}
	if err != nil || rows == 0 {
		if removed := e.files.Remove(path); removed != nil && !errors.Is(removed, os.ErrNotExist) {
			err = errors.Join(err, removed)
		}
	}
	return err
}

// writeTable writes rows to a table, and tells how many.
func (e *Engine) writeTable(path string, write func(engine.Rows) error) (rows int, err error) {
	f, err := e.files.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return 0, e.notWritten(err)
	}
	w := sstable.NewWriter(objstorageprovider.NewFileWritable(f), e.tables.MakeWriterOptions(0, e.db.TableFormat()))
	t := &table{engine: e, w: w}
	if err = write(t); err != nil {
		return t.rows, errors.Join(err, w.Close())
	}
	return t.rows, e.notWritten(w.Close())
}

// table is the rows of an Ingest.
type table struct {
	engine *Engine
	w      *sstable.Writer
	rows   int
}

func (t *table) Set(key, value []byte) error {
	t.rows++
	return t.engine.notWritten(t.w.Set(key, value))
}

func (t *table) Delete(key []byte) error {
	t.rows++
	return t.engine.notWritten(t.w.Delete(key))
}

func (e *Engine) notWritten(err error) error {
	if err == nil || engine.IsFailure(err) {
		return err
	}
	return e.failureOf(err)
}

// openIngest makes the directory of tables to ingest, without what a crash has left there.
func (e *Engine) openIngest() error {
	dir := e.space.PathJoin(e.dir, ingestDir)
	err := e.files.RemoveAll(dir)
	if err == nil {
		err = e.files.MkdirAll(dir, 0o750)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("recreate %s: %w", dir, err), e.db.Close())
	}
	return nil
}
