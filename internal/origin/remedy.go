package origin

import (
	"fmt"
	"strings"

	"thalweg/internal/progress"
)

// Place says where an application has its state and its topics, for the commands in the texts of refusals. Each text
// names all steps of a way out, in order: an application that is started after them runs.
type Place struct {
	Application string
	Directory   string // <Config.State.Dir>/<application>; empty: no store concerned is on disk
	Brokers     string // addresses as for -brokers; empty: the broker is in the process
}

// without says how to go on at the committed offsets without what the topics, and the local copies of the store, have.
// An empty store means that no copies are concerned, and no tasks those of all. To delete the progress topic is to
// consent to the topics as they are.
func (p Place) without(store string, tasks []string, topics ...string) string {
	return p.steps(p.drop(store, tasks...), p.delete(append(topics, progress.TopicName(p.Application))...))
}

// again says how to process the input from the beginning.
func (p Place) again() string {
	remove := ""
	if p.Directory != "" {
		remove = "remove " + p.Directory + " on each machine"
	}
	return "to process the input from the beginning: " +
		p.steps(fmt.Sprintf("reset it (Client.Reset with %q)", p.Application), remove)
}

// steps numbers what is to be done while the application does not run.
func (p Place) steps(what ...string) string {
	all := []string{"close all processes of " + p.Application}
	for _, step := range what {
		if step != "" {
			all = append(all, step)
		}
	}
	all = append(all, "start it")
	for i := range all {
		all[i] = fmt.Sprintf("(%d) %s", i+1, all[i])
	}
	return strings.Join(all, ", ")
}

func (p Place) drop(store string, tasks ...string) string {
	if store == "" || p.Directory == "" {
		return ""
	}
	flag := ""
	if len(tasks) > 0 {
		flag = " -task " + strings.Join(tasks, ",")
	}
	return fmt.Sprintf("run `thalweg state drop %s %s%s` on each machine that has a copy", word(p.Directory), word(store),
		flag)
}

// Drops says how rows of an application's directory are dropped while it does not run.
func Drops(directory string) string {
	dir := word(directory)
	return fmt.Sprintf("`thalweg state list %s` lists its stores, `thalweg state drop %s -gone` drops those that the "+
		"program does not have any more, and `thalweg state drop %s STORE` any other, which is restored from its changelog "+
		"when it is needed", dir, dir, dir)
}

func (p Place) delete(topics ...string) string {
	command := "thalweg topics delete " + strings.Join(topics, " ")
	if p.Brokers == "" {
		return fmt.Sprintf("delete the topics (Client.Delete, or `%s` where the broker listens)", command)
	}
	return fmt.Sprintf("run `%s -brokers %s`", command, p.Brokers)
}

// word is one word of a command line.
func word(s string) string {
	if strings.ContainsAny(s, " \t\n'\"`$&;|<>()*?[]#~\\!{}") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
