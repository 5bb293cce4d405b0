//go:build defects

package defect

import "os"

// Enabled tells whether a defect can be chosen.
const Enabled = true

// Variable is the environment variable that chooses the defect.
const Variable = "THALWEG_DEFECT"

// Each is explained where it is seeded.
var (
	SkippedSync         = chosen("skipped-sync")
	EarlyAcknowledgment = chosen("early-acknowledgment")
	LostMarker          = chosen("lost-marker")
	StaleGeneration     = chosen("stale-generation")
	UncheckedSequence   = chosen("unchecked-sequence")
	EarlyHighWatermark  = chosen("early-high-watermark")

	// Of the runtime and of what it relies on: make sim-defects finds these.

	OffsetWithoutOutput = chosen("offset-without-output")
	OutputWithoutOffset = chosen("output-without-offset")
	DoubleOwner         = chosen("double-owner")
	StaleMember         = chosen("stale-member")
	UnknownEnd          = chosen("unknown-end")
	ShortRestore        = chosen("short-restore")
	RevokedGoesOn       = chosen("revoked-goes-on")
	UnfencedWrites      = chosen("unfenced-writes")
	EarlyPromotion      = chosen("early-promotion")
)

func chosen(name string) bool { return os.Getenv(Variable) == name }
