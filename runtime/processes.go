package runtime

import (
	"context"
	"fmt"
	"time"

	"thalweg/internal/assign"
	"thalweg/internal/kclient"
	"thalweg/internal/progress"
)

// Process is a process of an application, as the leader of its group has told all others.
type Process struct {
	Name     string   // of its state directory, or chosen at its start
	Endpoint string   // its Config.Endpoint
	Active   []TaskID // that it processes
	Standby  []TaskID // that others process, and of which it keeps a copy of the state
}

// processesKey names the record of the application's processes.
func processesKey() progress.Key { return progress.Key{Kind: progress.Processes, Partition: -1} }

// endpointMax bounds Config.Endpoint: each process tells it when it joins the group.
const endpointMax = 1 << 10

// publishMax bounds the time that the group waits for the record of its processes.
const publishMax = 2 * time.Second

// publish writes which process has which tasks. The leader of the group does this before anybody gets a task; where it
// fails, the tasks are handed out all the same, and the record is behind until the group is balanced again.
func (b *balance) publish(processes []assign.Process) {
	b.app.mu.Lock()
	noted := b.app.noted
	b.app.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), publishMax)
	defer cancel()
	wrote := make(chan error, 1)
	go func() { // which may have to wait for another write, of a worker that has more time
		wrote <- noted.publish(ctx, string(assign.AppendProcesses(nil, processes)))
	}()
	var err error
	select {
	case err = <-wrote:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		b.app.cfg.Logger.Warn("can't write which process has which tasks: App.Processes is behind until the group is "+
			"balanced again", "application", b.app.cfg.ApplicationID, "err", err)
	}
}

// publish writes the record though it may be what this process wrote last: another may have written since.
func (p *progressTopic) publish(ctx context.Context, processes string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	record := kclient.KeyValue{
		Key: progress.AppendKey(nil, processesKey()), Value: progress.AppendValue(nil, progress.Value{Processes: processes}),
	}
	if err := p.client.WriteKeyed(ctx, p.topic, []kclient.KeyValue{record}, p.cfg.Clock()); err != nil {
		return fmt.Errorf("topic %s: %w", p.topic, err)
	}
	return nil
}

func (a *app) Processes(ctx context.Context) ([]Process, error) {
	a.mu.Lock()
	c := a.control
	a.mu.Unlock()
	if c == nil {
		return nil, fmt.Errorf("runtime: processes: application %s does not run here: %w", a.cfg.ApplicationID, ErrNotHere)
	}
	all, err := readProcesses(ctx, c, progress.TopicName(a.cfg.ApplicationID))
	if err != nil {
		return nil, fmt.Errorf("runtime: processes of application %s: %w", a.cfg.ApplicationID, err)
	}
	return all, nil
}

// readProcesses reads the last record of the processes.
func readProcesses(ctx context.Context, c *kclient.Client, topic string) (processes []Process, err error) {
	records, err := c.ReadKeyed(ctx, topic)
	if err != nil {
		return nil, err
	}
	last := ""
	for _, r := range records {
		key, err := progress.DecodeKey(r.Key)
		if err != nil || key != processesKey() || len(r.Value) == 0 {
			continue
		}
		value, err := progress.DecodeValue(r.Value)
		if err != nil {
			return nil, fmt.Errorf("topic %s: %w", topic, err)
		}
		last = value.Processes
	}
	if last == "" {
		return nil, nil
	}
	all, err := assign.DecodeProcesses([]byte(last))
	if err != nil {
		return nil, fmt.Errorf("topic %s: %w", topic, err)
	}
	for _, p := range all {
		processes = append(processes, Process{p.Name, p.Endpoint, taskIDs(p.Active), taskIDs(p.Standby)})
	}
	return processes, nil
}

func taskIDs(tasks []assign.TaskID) (ids []TaskID) {
	for _, t := range tasks {
		ids = append(ids, TaskID{int(t.Subtopology), t.Partition})
	}
	return ids
}
