package memory

import (
	"encoding/binary"
	"syscall"
)

// physical is the memory of a machine that has no /proc; 0: unknown.
func physical() int64 {
	s, err := syscall.Sysctl("hw.memsize") // 8 bytes; a last byte of zero is cut off as the end of a string
	if err != nil || len(s) > 8 {
		return 0
	}
	var b [8]byte
	copy(b[:], s)
	return int64(binary.LittleEndian.Uint64(b[:]))
}
