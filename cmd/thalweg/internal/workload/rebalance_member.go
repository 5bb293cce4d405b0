package workload

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"thalweg/runtime"
)

// The orders to a member, each a JSON string in its input.
const (
	leaveGroup     = "close"
	keepMembership = "suspend"
)

// memberRuns is the line that a member prints when all its tasks run.
const memberRuns = "running\n"

// membership says what a member is. It is the first JSON value in its input.
type membership struct {
	Seeds          []string
	Name           string // of the application; its topics are <Name>-in and <Name>-out
	Number         int
	StateDir       string
	Guarantee      runtime.Guarantee
	Commit         time.Duration
	Workers        int
	Standbys       int
	WarmupsMax     int
	Session        time.Duration
	MemoryBytesMax int64
}

func (m membership) config(log *slog.Logger) runtime.Config {
	return runtime.Config{
		ApplicationID: m.Name, Seeds: m.Seeds,
		State:     runtime.StateConfig{Dir: m.StateDir},
		Guarantee: m.Guarantee, CommitInterval: m.Commit,
		Workers:        m.Workers,
		Standbys:       runtime.StandbyConfig{Count: m.Standbys, WarmupsMax: m.WarmupsMax},
		SessionTimeout: m.Session,
		Limits:         runtime.Limits{MemoryBytesMax: m.MemoryBytesMax},
		Instance:       strconv.Itoa(m.Number), Logger: log.With("process", m.Number),
	}
}

// RunMember runs one process of the rebalance workload's application: in says what it is and when it ends, and out is
// told when it runs.
func RunMember(ctx context.Context, in io.Reader, out io.Writer, log *slog.Logger) error {
	orders := json.NewDecoder(in)
	var m membership
	if err := orders.Decode(&m); err != nil {
		return fmt.Errorf("bench: read what process this is: %w", err)
	}
	topo, err := located(m.Name+"-in", m.Name+"-out", m.Number)
	if err != nil {
		return err
	}
	app, err := runtime.New(topo, m.config(log))
	if err != nil {
		return err
	}
	return app.RunDuring(ctx, func(ctx context.Context) error {
		if err := app.WaitRunning(ctx); err != nil {
			return err
		}
		if _, err := io.WriteString(out, memberRuns); err != nil {
			return err
		}
		ordered := make(chan string, 1)
		go func() {
			order := leaveGroup // also where nobody is there any more who could say so
			_ = orders.Decode(&order)
			ordered <- order
		}()
		select {
		case order := <-ordered:
			if order == keepMembership {
				return app.Suspend(ctx)
			}
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

// member is a process of the application.
type member struct {
	number int
	cmd    *exec.Cmd
	orders *json.Encoder
	ends   atomic.Bool // it is to
	ended  chan struct{}
}

// start starts a process and waits until its tasks run, while starts lasts. The process lives as long as ctx.
func (b *rebalancing) start(ctx, starts context.Context, number int) (*member, error) {
	m := &member{number: number, ended: make(chan struct{})}
	args := []string{"bench", "member"}
	if b.o.Verbose {
		args = append(args, "--verbose")
	}
	m.cmd = exec.CommandContext(ctx, b.o.Program, args...)
	m.cmd.Stderr = os.Stderr
	in, err := m.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: start process %d of the application: %w", number, err)
	}
	m.orders = json.NewEncoder(in)
	says := make(chan error, 1)
	b.g.Go(func() error {
		defer close(m.ended)
		line, err := bufio.NewReader(out).ReadString('\n')
		if line != memberRuns {
			err = fmt.Errorf("it said %q and not that it runs: see its own error above", line)
		}
		says <- err
		err = m.cmd.Wait()
		if m.ends.Load() || ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("bench: process %d of the application ended by itself: %w", number, err)
	})
	err = m.orders.Encode(membership{
		Seeds: b.p.seeds, Name: b.name, Number: number, StateDir: filepath.Join(b.p.dir, "member-"+strconv.Itoa(number)),
		Guarantee: b.o.Guarantee, Commit: b.o.Commit, Workers: b.o.Workers, Standbys: b.o.Standbys,
		WarmupsMax: b.o.WarmupsMax, Session: b.o.Session, MemoryBytesMax: max(b.o.MemoryBytesMax, 0),
	})
	if err == nil {
		select {
		case err = <-says:
		case <-starts.Done():
			err = starts.Err()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("bench: start process %d of the application: %w", number, err)
	}
	return m, nil
}

// end gives the process its last order and waits until it has ended. One that has ended already is fine.
func (m *member) end(ctx context.Context, order string) error {
	if m.ends.Swap(true) {
		return nil
	}
	if err := m.orders.Encode(order); err != nil {
		return fmt.Errorf("bench: end process %d of the application: %w", m.number, err)
	}
	select {
	case <-m.ended:
	case <-ctx.Done():
		return ctx.Err()
	}
	if !m.cmd.ProcessState.Success() {
		return fmt.Errorf("bench: process %d of the application was told to %s: %s", m.number, order, m.cmd.ProcessState)
	}
	return nil
}

// kill ends the process without its knowledge.
func (m *member) kill() error {
	m.ends.Store(true)
	if err := m.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("bench: kill process %d of the application: %w", m.number, err)
	}
	<-m.ended
	return nil
}

func (m *member) pid() pid { return pid(m.cmd.Process.Pid) }
