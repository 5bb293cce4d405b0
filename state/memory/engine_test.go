package memory_test

import (
	"testing"

	"thalweg/state/engine"
	"thalweg/state/memory"
	"thalweg/state/statetest"
)

func TestConformance(t *testing.T) {
	statetest.Conformance(t, func(*testing.T) engine.Engine { return memory.New() })
}
