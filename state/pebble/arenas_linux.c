//go:build cgo

#include <malloc.h>
#include <stdlib.h>

// limit_arenas runs before Go starts its threads, each of which would take an arena. See arenas.go.
__attribute__((constructor)) static void limit_arenas(void) {
#ifdef __GLIBC__
	if (getenv("MALLOC_ARENA_MAX") == NULL) {
		mallopt(M_ARENA_MAX, 1);
		mallopt(M_MMAP_THRESHOLD, 256 * 1024);
		mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
	}
#endif
}
