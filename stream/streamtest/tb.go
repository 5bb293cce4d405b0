package streamtest

import (
	"log"

	"thalweg/topology"
)

// TB is what the driver needs of a test. Every testing.TB has it.
type TB interface {
	Helper()
	Cleanup(f func())
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Open starts the application outside of a test: in an Example, or in a program that tries something out. What goes
// wrong ends the program, as log.Fatal does, except through the methods named Try. Close it at the end.
func Open(topo *topology.Topology, c Config) *Driver { return New(program{}, topo, c) }

// program stands in for a test.
type program struct{}

func (program) Helper()                           {}
func (program) Cleanup(func())                    {}
func (program) Logf(format string, args ...any)   { log.Printf(format, args...) }
func (program) Errorf(format string, args ...any) { log.Fatalf(format, args...) }
func (program) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
