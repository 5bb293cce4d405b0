//go:build !defects

package defect

// Enabled tells whether a defect can be chosen.
const Enabled = false

// Each is explained where it is seeded.
const (
	SkippedSync         = false
	EarlyAcknowledgment = false
	LostMarker          = false
	StaleGeneration     = false
	UncheckedSequence   = false
	EarlyHighWatermark  = false
)
