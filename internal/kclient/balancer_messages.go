package kclient

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/internal/assign"
)

// messages are what members are told beside their partitions. One of them has the group balanced again.
func (b *balancer) messages(result assign.Result, named map[string]bool, plan *kgo.BalancePlan) map[string][]byte {
	logged := map[int32]bool{}
	for _, sub := range b.cfg.Subtopologies {
		logged[sub.ID] = sub.Logged
	}
	partitions, data := plan.AsMemberIDMap(), map[string][]byte{}
	for _, a := range result.Members {
		if !named[a.Member] {
			continue
		}
		sent := assign.Sent{Topology: sumOf(b.cfg.Topology), Standby: a.Standby, Warmup: a.Warmup}
		for _, id := range a.Active {
			topics := b.subtopology(id.Subtopology).Topics
			switch {
			case slices.ContainsFunc(topics, func(topic string) bool {
				return slices.Contains(partitions[a.Member][topic], id.Partition)
			}):
				sent.Active = append(sent.Active, id)
			case logged[id.Subtopology]: // another member has to give it back first: the copy stays near until then
				sent.Warmup = append(sent.Warmup, id)
			}
		}
		if result.Probe && len(data) == 0 {
			sent.ProbeAfter = b.cfg.ProbeInterval
		}
		data[a.Member] = sent.Append(nil)
	}
	return data
}

// read looks at what the leader has sent with an assignment; nil: not which tasks it is about. A leader of an older
// build may send nothing at all.
func (b *balancer) read(assignment []byte) (*assign.Sent, error) {
	a := kmsg.NewConsumerMemberAssignment()
	if err := a.ReadFrom(assignment); err != nil {
		return nil, fmt.Errorf("kclient: assignment: %w", err)
	}
	data := a.UserData
	switch {
	case len(data) >= 1+sumBytes && data[0] == signatureVersion:
		return nil, b.compare(string(data[1:1+sumBytes]), string(data[1+sumBytes:]))
	case len(data) > 0 && data[0] >= assign.SentVersion:
		sent, err := assign.DecodeSent(data)
		if err != nil {
			return nil, fmt.Errorf("kclient: %w", err)
		}
		return &sent, b.compare(sent.Topology, "")
	}
	return nil, nil
}

// messages is a plan whose assignments have user data.
type messages struct {
	*kgo.BalancePlan
	byMember map[string][]byte
	other    []byte // for members that are not in byMember
}

// IntoSyncAssignment implements [kgo.IntoSyncAssignment].
func (s *messages) IntoSyncAssignment() []kmsg.SyncGroupRequestGroupAssignment {
	assignments := s.BalancePlan.IntoSyncAssignment()
	for i := range assignments {
		a := kmsg.NewConsumerMemberAssignment()
		if err := a.ReadFrom(assignments[i].MemberAssignment); err != nil {
			continue // it is franz-go's own
		}
		a.UserData = s.other
		if data, ok := s.byMember[assignments[i].MemberID]; ok {
			a.UserData = data
		}
		assignments[i].MemberAssignment = a.AppendTo(nil)
	}
	return assignments
}
