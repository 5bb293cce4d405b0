//go:build cgo && !race

package memory

// engineOffHeap tells that Pebble takes its memory from C.
const engineOffHeap = true
