package pebble

import (
	"errors"
	"os"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"thalweg/internal/faultfs"
)

// Where dead files give enough space, no rows are given up for it.
func TestDeadFilesGoFirst(t *testing.T) {
	disk := faultfs.NewDisk(vfs.NewMem(), 1<<20)
	for name, size := range map[string]int{"dead": dropSpareBytes, "rows": 1<<20 - dropSpareBytes} {
		f, err := disk.Create(name, vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		_, err = f.Write(make([]byte, size))
		require.NoError(t, errors.Join(err, f.Close()))
	}
	d := Droppable{fs: disk, dead: []string{"dead"}, largest: "rows", bytes: 1<<20 - dropSpareBytes}
	require.NoError(t, d.Free()) // in memory no file can be punched
	_, err := disk.Stat("dead")
	require.ErrorIs(t, err, os.ErrNotExist)
	disk.Resize(disk.UsedBytes())
	d.dead = nil
	require.Error(t, d.Free())
}
