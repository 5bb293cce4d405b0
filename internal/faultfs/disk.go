package faultfs

import (
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Disk is a file system of a limited size: what does not fit fails with ENOSPC, after the part that fits. It counts
// what Write adds to files of Create; WriteAt is for bytes that are there.
type Disk struct {
	vfs.FS
	mu    sync.Mutex
	files map[string]*diskFile
	used  int64
	max   int64
}

// NewDisk limits a file system that is empty.
func NewDisk(fs vfs.FS, bytesMax int64) *Disk {
	return &Disk{FS: fs, files: map[string]*diskFile{}, max: bytesMax}
}

// Resize changes the size; what is there stays.
func (d *Disk) Resize(bytesMax int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.max = bytesMax
}

// UsedBytes is the size of all files.
func (d *Disk) UsedBytes() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// GetDiskUsage tells what is free.
func (d *Disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return vfs.DiskUsage{
		AvailBytes: uint64(max(d.max-d.used, 0)), TotalBytes: uint64(d.max), UsedBytes: uint64(d.used),
	}, nil
}

type diskFile struct {
	vfs.File
	disk  *Disk
	size  int64
	names int // 0: it is removed
}

// Create makes a file, or empties it.
func (d *Disk) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forget(name)
	d.files[name] = &diskFile{File: f, disk: d, names: 1}
	return d.files[name], nil
}

func (d *Disk) forget(name string) {
	if f := d.files[name]; f != nil {
		if f.names--; f.names == 0 {
			d.used -= f.size
		}
		delete(d.files, name)
	}
}

// Remove frees the space of a file.
func (d *Disk) Remove(name string) error {
	err := d.FS.Remove(name)
	if err == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.forget(name)
	}
	return err
}

// RemoveAll frees the space of all files of a directory.
func (d *Disk) RemoveAll(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for path := range d.files {
		if path == name || strings.HasPrefix(path, name+"/") {
			d.forget(path)
		}
	}
	return d.FS.RemoveAll(name)
}

// Rename moves a file.
func (d *Disk) Rename(oldname, newname string) error {
	err := d.FS.Rename(oldname, newname)
	if err == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.forget(newname)
		if f := d.files[oldname]; f != nil {
			d.files[newname] = f
			delete(d.files, oldname)
		}
	}
	return err
}

// Link gives a file another name.
func (d *Disk) Link(oldname, newname string) error {
	err := d.FS.Link(oldname, newname)
	if err == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if f := d.files[oldname]; f != nil {
			f.names++
			d.files[newname] = f
		}
	}
	return err
}

func (f *diskFile) Write(p []byte) (int, error) {
	room := f.grow(int64(len(p)))
	n, err := f.File.Write(p[:room])
	if err == nil && room < len(p) {
		err = syscall.ENOSPC
	}
	return n, err
}

// grow is how much of what is to be written fits.
func (f *diskFile) grow(bytes int64) int {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	bytes = min(bytes, max(d.max-d.used, 0))
	if f.names > 0 {
		f.size += bytes
		d.used += bytes
	}
	return int(bytes)
}
