package kclient

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// With each assignment the leader sends what its topology is, as user data: a member that runs another one would get
// tasks that it does not have, and its own would be nobody's. Members that get tasks and understand which are sent an
// assign.Sent, which has the sum. All others are sent
//
//	byte 0   1
//	bytes    the sum, in sumBytes of hexadecimal digits
//	…        the text itself, where it fits
const (
	signatureVersion = 1
	sumBytes         = 16
	// signaturesMax bounds the texts in the assignments of a generation together: Kafka keeps these in one record.
	signaturesMax = 64 << 10
)

// errTopologyDiffers ends a member's attempt to take part.
var errTopologyDiffers = errors.New("kclient: the group's leader runs another topology")

// sumOf is short and equal for equal topologies. Nothing has none.
func sumOf(topology string) string {
	if topology == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(topology))
	return hex.EncodeToString(sum[:sumBytes/2])
}

// signature is what a leader sends to each of so many members.
func (b *balancer) signature(members int) []byte {
	if b.cfg.Topology == "" {
		return nil
	}
	data := append([]byte{signatureVersion}, sumOf(b.cfg.Topology)...)
	if len(b.cfg.Topology)*members <= signaturesMax {
		data = append(data, b.cfg.Topology...)
	}
	return data
}

// compare takes note of a leader that runs another topology, whose text is empty if it was not sent.
func (b *balancer) compare(sum, text string) error {
	if b.cfg.Topology == "" || sum == "" || sum == sumOf(b.cfg.Topology) {
		return nil
	}
	if b.cfg.Differs != nil {
		b.cfg.Differs(text)
	}
	return errTopologyDiffers
}
