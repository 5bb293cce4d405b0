package kclient

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// With each assignment the leader sends what its topology is, as user data: a member that runs another one would get
// tasks that it does not have, and its own would be nobody's.
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

// compare looks at what the leader has sent with an assignment. A leader of an older build sends nothing.
func (b *balancer) compare(assignment []byte) error {
	a := kmsg.NewConsumerMemberAssignment()
	if err := a.ReadFrom(assignment); err != nil {
		return fmt.Errorf("kclient: assignment: %w", err)
	}
	data := a.UserData
	if b.cfg.Topology == "" || len(data) < 1+sumBytes || data[0] != signatureVersion ||
		string(data[1:1+sumBytes]) == sumOf(b.cfg.Topology) {
		return nil
	}
	if b.cfg.Differs != nil {
		b.cfg.Differs(string(data[1+sumBytes:]))
	}
	return errTopologyDiffers
}

// signed is a plan whose assignments have user data.
type signed struct {
	*kgo.BalancePlan
	data []byte
}

// IntoSyncAssignment implements [kgo.IntoSyncAssignment].
func (s *signed) IntoSyncAssignment() []kmsg.SyncGroupRequestGroupAssignment {
	assignments := s.BalancePlan.IntoSyncAssignment()
	for i := range assignments {
		a := kmsg.NewConsumerMemberAssignment()
		if err := a.ReadFrom(assignments[i].MemberAssignment); err != nil {
			continue // it is franz-go's own
		}
		a.UserData = s.data
		assignments[i].MemberAssignment = a.AppendTo(nil)
	}
	return assignments
}
