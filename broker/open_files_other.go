//go:build !unix

package broker

// openFilesMax is how many files the process may open.
func openFilesMax() uint64 { return 2 * mostOpenFiles }
