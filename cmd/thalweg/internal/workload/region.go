package workload

import (
	"fmt"
	"syscall"
)

// region is memory outside of the Go heap, for the data sets: on it they would let the garbage collector run far less
// often than it does in an application that reads its input.
type region struct{ free []byte }

const regionBytes = 64 << 20

// clone copies b into the region. It is never given back.
func (r *region) clone(b []byte) ([]byte, error) {
	if len(r.free) < len(b) {
		n := max(regionBytes, len(b))
		mapped, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
		if err != nil {
			return nil, fmt.Errorf("bench: %d bytes of memory: %w", n, err)
		}
		r.free = mapped
	}
	n := copy(r.free, b)
	c := r.free[:n:n]
	r.free = r.free[n:]
	return c, nil
}
