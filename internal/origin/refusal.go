package origin

import (
	"errors"
	"fmt"
	"strings"
)

// Refusal is the error of an application whose state does not fit its topics.
type Refusal struct {
	Text string

	task string // empty: it is about no task
	fact string // what is wrong with it
	ways waysOut
}

func (r *Refusal) Error() string { return r.Text }

// waysOut are the ways out for some tasks. Those of none say what tasks must have in common to be listed together.
type waysOut func(tasks ...string) string

// refuse is the refusal of a task.
func refuse(task string, ways waysOut, format string, args ...any) Verdict {
	r := &Refusal{task: task, fact: fmt.Sprintf(format, args...), ways: ways}
	r.Text = r.fact + ". " + ways(task)
	return Verdict{Refuse, r.Text, r}
}

// factsMost is how many tasks a text describes. It names the others.
const factsMost = 4

// Together is the error of several refusals. Tasks that have the same ways out are listed in front of them.
func Together(refusals []*Refusal) error {
	var errs []error
	for len(refusals) > 0 {
		first := refusals[0]
		var same, others []*Refusal
		for _, r := range refusals {
			if r == first || first.ways != nil && r.ways != nil && r.ways() == first.ways() {
				same = append(same, r)
			} else {
				others = append(others, r)
			}
		}
		errs = append(errs, &Refusal{Text: textOf(same)})
		refusals = others
	}
	return errors.Join(errs...)
}

// textOf is the text of refusals with the same ways out.
func textOf(same []*Refusal) string {
	if same[0].ways == nil {
		return same[0].Text
	}
	var facts, tasks, rest []string
	for i, r := range same {
		tasks = append(tasks, r.task)
		if i < factsMost {
			facts = append(facts, fmt.Sprintf("task %s: %s", r.task, r.fact))
		} else {
			rest = append(rest, r.task)
		}
	}
	text := strings.Join(facts, "; ")
	if len(rest) > 0 {
		text += "; and likewise tasks " + strings.Join(rest, ", ")
	}
	return text + ". " + same[0].ways(tasks...)
}
