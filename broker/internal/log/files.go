package log

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/cockroachdb/pebble/v2/vfs"
)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// readFile returns the whole content of a file.
func readFile(files vfs.FS, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(f)
	return content, errors.Join(err, f.Close())
}

// replacement is a file that takes the place of an older one by way of a temporary name: after a crash there is the old
// content or the new. It is written, synced, and given its name; the directory is not synced.
type replacement struct {
	name    string
	content []byte
	same    bool // as the older one, which stays
	beside  bool // another may be written under the same name at the same time
}

func (r replacement) temp() string {
	if r.beside {
		return r.name + besideSuffix
	}
	return r.name + tempSuffix
}

// discard removes the file where it has no name yet.
func (r replacement) discard(files vfs.FS) error {
	if err := files.Remove(r.temp()); err != nil {
		return fmt.Errorf("file %s: remove: %w", r.temp(), err)
	}
	return nil
}

// keepSame has those stay whose contents are as they should be: a file system makes and removes files slowly.
func keepSame(files vfs.FS, replacements []replacement) []replacement {
	for i := range replacements {
		r := &replacements[i]
		content, err := readFile(files, r.name)
		r.same = err == nil && bytes.Equal(content, r.content)
	}
	return replacements
}

// write writes the content under the temporary name.
func (r replacement) write(files vfs.FS, fsync bool) error {
	if r.same && fsync {
		return r.sync(files)
	}
	if r.same {
		return nil
	}
	f, err := files.Create(r.temp(), vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("file %s: create: %w", r.temp(), err)
	}
	if len(r.content) > 0 {
		_, err = f.Write(r.content)
	}
	if err == nil && fsync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("file %s: write: %w", r.temp(), err)
	}
	return nil
}

// sync syncs the content that write has left unsynced.
func (r replacement) sync(files vfs.FS) error {
	name := r.temp()
	if r.same {
		name = r.name
	}
	f, err := files.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("file %s: open: %w", name, err)
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("file %s: sync: %w", name, err)
	}
	return nil
}

// install gives the file its name.
func (r replacement) install(files vfs.FS) error {
	if r.same {
		return nil
	}
	if err := files.Rename(r.temp(), r.name); err != nil {
		return fmt.Errorf("file %s: rename: %w", r.temp(), err)
	}
	return nil
}

// writeAll writes replacements, and syncs them in one step. On an error none is left.
func writeAll(files vfs.FS, replacements []replacement, fsync bool, together *Together) (err error) {
	for _, r := range replacements {
		if err == nil {
			err = r.write(files, fsync && together == nil)
		}
	}
	if err == nil && fsync && together != nil {
		err = together.fsync(func() error { return eachOf(files, replacements, replacement.sync) })
	}
	if err != nil {
		for _, r := range replacements {
			_ = files.Remove(r.temp()) // the disk may be full
		}
	}
	return err
}

// eachOf does the same with replacements one after the other, up to the first error.
func eachOf(files vfs.FS, replacements []replacement, do func(replacement, vfs.FS) error) error {
	for _, r := range replacements {
		if err := do(r, files); err != nil {
			return err
		}
	}
	return nil
}

// replaceAll writes replacements, and gives them their names.
func replaceAll(files vfs.FS, replacements []replacement, fsync bool, together *Together) error {
	if err := writeAll(files, replacements, fsync, together); err != nil {
		return err
	}
	return eachOf(files, replacements, replacement.install)
}

// writeFile is replaceAll of one file.
func writeFile(files vfs.FS, name string, content []byte, fsync bool) error {
	return replaceAll(files, []replacement{{name: name, content: content}}, fsync, nil)
}

// syncDir syncs the entries of a directory.
func syncDir(files vfs.FS, dir string) error {
	d, err := files.OpenDir(dir)
	if err != nil {
		return fmt.Errorf("directory %s: open: %w", dir, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("directory %s: sync: %w", dir, err)
	}
	return nil
}
