//go:build cgo && linux

package pebble

import "C" // for arenas_linux.c

// With cgo Pebble takes blocks and memtables from C's allocator. That of glibc has an arena for each thread, and the
// free parts of all of them add up to more than what is in use. arenas_linux.c sets it to one arena, and to mappings of
// their own for memtables, which return to the system when they are freed. It does so for the whole process, unless
// MALLOC_ARENA_MAX is set.
