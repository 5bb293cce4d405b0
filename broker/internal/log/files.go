package log

import (
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

// writeFile puts a file in the place of an older one by way of a temporary name: after a crash there is the old content
// or the new. The directory is not forced.
func writeFile(files vfs.FS, name string, content []byte, force bool) error {
	temp := name + tempSuffix
	f, err := files.Create(temp, vfs.WriteCategoryUnspecified)
	if err != nil {
		return fmt.Errorf("file %s: create: %w", temp, err)
	}
	if len(content) > 0 {
		_, err = f.Write(content)
	}
	if err == nil && force {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		_ = files.Remove(temp) // the disk may be full
		return fmt.Errorf("file %s: write: %w", temp, err)
	}
	if err := files.Rename(temp, name); err != nil {
		return fmt.Errorf("file %s: rename: %w", temp, err)
	}
	return nil
}

// syncDir forces the entries of a directory.
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
