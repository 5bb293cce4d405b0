package kclient

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/internal/assign"
)

// messages are what members are told beside their partitions. One of them has the group balanced again.
func (b *balancer) messages(result assign.Result, reports map[string]assign.Report, plan *kgo.BalancePlan) (
	data map[string][]byte) {
	var processes []assign.Process
	data = map[string][]byte{}
	for _, a := range result.Members {
		report := reports[a.Member]
		sent := b.sentTo(a, plan.AsMemberIDMap()[a.Member])
		processes = assign.AddTasks(processes, assign.Process{
			Name: report.Process, Endpoint: report.Endpoint, Active: sent.Active,
			Standby: slices.Concat(sent.Standby, sent.Warmup),
		})
		if !report.NamesTasks() {
			continue
		}
		if result.Probe && len(data) == 0 {
			sent.ProbeAfter = b.cfg.ProbeInterval
		}
		data[a.Member] = sent.Append(nil)
	}
	if b.cfg.Assigned != nil {
		b.cfg.Assigned(processes)
	}
	return data
}

// sentTo says which tasks a member has. One that it is to have, and that another member has to give back first, is no
// active task yet: its copy stays near until then.
func (b *balancer) sentTo(a assign.Assignment, partitions map[string][]int32) assign.Sent {
	sent := assign.Sent{Topology: sumOf(b.cfg.Topology), Standby: a.Standby, Warmup: a.Warmup}
	for _, id := range a.Active {
		sub := b.subtopology(id.Subtopology)
		switch {
		case slices.ContainsFunc(sub.Topics, func(topic string) bool {
			return slices.Contains(partitions[topic], id.Partition)
		}):
			sent.Active = append(sent.Active, id)
		case sub.Logged:
			sent.Warmup = append(sent.Warmup, id)
		}
	}
	return sent
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
