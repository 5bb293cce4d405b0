//go:build !cgo || race

package memory

// engineOffHeap tells that Pebble takes its memory from C, which it does not do without cgo.
const engineOffHeap = false
