package pebble

import "syscall"

const (
	keepSize  = 1 // FALLOC_FL_KEEP_SIZE
	punchHole = 2 // FALLOC_FL_PUNCH_HOLE
)

// punch gives the blocks of a part of a file back to the disk. It reads as zeros then.
func punch(fd uintptr, bytes int64) error {
	return syscall.Fallocate(int(fd), keepSize|punchHole, 0, bytes)
}
