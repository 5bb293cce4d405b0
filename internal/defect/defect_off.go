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

	// Of the runtime and of what it relies on: make sim-defects finds these.

	OffsetWithoutOutput = false
	OutputWithoutOffset = false
	DoubleOwner         = false
	StaleMember         = false
	UnknownEnd          = false
	ShortRestore        = false
	RevokedGoesOn       = false
	UnfencedWrites      = false
	EarlyPromotion      = false
)
