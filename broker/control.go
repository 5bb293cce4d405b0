package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// controlFile is a Unix socket in the data directory, by which other processes of the same user ask for what the
// protocol has no request for. A connection carries one question and one answer, each a line of JSON.
const controlFile = "CONTROL"

// controlBytesMax limits a question.
const controlBytesMax = 64 << 10

type controlRequest struct {
	Backup string `json:"backup"` // the directory of the copy
}

type controlResponse struct {
	Error string `json:"error,omitempty"`
}

// control serves the socket.
type control struct {
	b        *broker
	path     string
	listener net.Listener
	wg       sync.WaitGroup
}

// openControl makes the socket where the data directory lies in the operating system's files. The broker works without
// it, as where the directory's path is longer than a socket's may be.
func (b *broker) openControl() {
	if b.cfg.FS != vfs.Default {
		return
	}
	c := &control{b: b, path: filepath.Join(b.cfg.Dir, controlFile)}
	if err := c.listen(); err != nil {
		b.cfg.Logger.Warn("broker: no socket for thalweg broker backup", "path", c.path, "err", err)
		return
	}
	b.control = c
	c.wg.Add(1)
	go c.accept()
}

// listen makes the socket in a directory that nobody else can enter, and moves it when it has its mode.
func (c *control) listen() error {
	closed := c.path + ".tmp"
	if err := errors.Join(os.RemoveAll(closed), os.Mkdir(closed, 0o700)); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(closed) }()
	made := filepath.Join(closed, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: made, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(made, 0o600); err == nil {
		err = os.Rename(made, c.path) // over what a killed broker left
	}
	if err != nil {
		return errors.Join(err, l.Close())
	}
	c.listener = l
	return nil
}

func (c *control) accept() {
	defer c.wg.Done()
	c.b.acceptAll(c.listener, func(conn net.Conn) {
		c.wg.Go(func() {
			if err := c.serve(conn); err != nil {
				c.b.cfg.Logger.Info("broker: socket for backups", "err", err)
			}
		})
	})
}

// serve answers one question. What it asks for ends when the other process does.
func (c *control) serve(conn net.Conn) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-c.b.stop:
			_ = conn.SetReadDeadline(time.Now()) // nobody waits for a question
		case <-ctx.Done():
		}
	}()
	var req controlRequest
	if err := json.NewDecoder(io.LimitReader(conn, controlBytesMax)).Decode(&req); err != nil {
		return errors.Join(err, conn.Close())
	}
	go func() {
		_, _ = conn.Read(make([]byte, 1)) // until the other side is gone
		cancel()
	}()
	var resp controlResponse
	if req.Backup == "" {
		resp.Error = "unknown request: is the broker older than the program that asks?"
	} else if err := c.b.Backup(ctx, req.Backup); err != nil {
		resp.Error = err.Error()
	}
	return errors.Join(json.NewEncoder(conn).Encode(resp), conn.Close())
}

func (c *control) close() error {
	if c == nil {
		return nil
	}
	err := c.listener.Close()
	c.wg.Wait()
	return errors.Join(err, os.Remove(c.path))
}

// controlRemedy says what to do when nobody answers at a socket.
func controlRemedy(path string, err error) string {
	switch {
	case len(path) > socketPathMax:
		return fmt.Sprintf("the path is longer than the %d bytes that a socket's may have: run the broker on a directory "+
			"with a shorter path, or stop it and copy the files", socketPathMax)
	case errors.Is(err, fs.ErrPermission):
		return "run this as the user that the broker runs as"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return "is one running on this directory? If one is, its log says why it has no socket; if none is, copy the " +
			"files instead"
	}
	return "try again, or stop the broker and copy the files"
}

// socketPathMax is how long the path of a socket may be on all systems.
const socketPathMax = 103

// interruptMax is how long RequestBackup waits for the answer to a backup that it interrupts.
const interruptMax = 10 * time.Second

func interruptedBackup(cause error) error {
	return fmt.Errorf("broker: backup: interrupted; no copy was made: %w", cause)
}

// RequestBackup asks the broker that has the data directory dir open, in another process of the same user, for what
// [Broker.Backup] does, and waits for it. The context ends the backup. A relative target is one of this process's
// working directory.
func RequestBackup(ctx context.Context, dir, target string) error {
	path := filepath.Join(dir, controlFile)
	target, err := filepath.Abs(target)
	if err != nil {
		return fmt.Errorf("broker: backup: %w", err)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if failed := ctx.Err(); err != nil && failed != nil {
		return interruptedBackup(failed)
	}
	if err != nil {
		return fmt.Errorf("broker: backup: no broker answers at %s: %s: %w", path, controlRemedy(path, err), err)
	}
	var resp controlResponse
	err = json.NewEncoder(conn).Encode(controlRequest{Backup: target})
	// An interrupted backup is answered, too: the broker knows whether there is a copy.
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetReadDeadline(time.Now().Add(interruptMax))
		_ = conn.(*net.UnixConn).CloseWrite()
	})
	defer stop()
	if err == nil {
		err = json.NewDecoder(conn).Decode(&resp)
	}
	if failed := ctx.Err(); failed != nil && resp.Error != "" {
		_ = conn.Close()
		return interruptedBackup(failed)
	}
	if failed := ctx.Err(); failed != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		_ = conn.Close()
		return fmt.Errorf("broker: backup: interrupted, but the broker on %s has not stopped it within %v; there is no "+
			"copy unless %s exists: %w", dir, interruptMax, target, failed)
	}
	if err != nil {
		return fmt.Errorf("broker: backup: the broker on %s went away before its answer: its log says why; there is no "+
			"copy unless %s exists; try again when it runs: %w", dir, target, errors.Join(err, conn.Close()))
	}
	if resp.Error != "" {
		err = errors.New(resp.Error) // it says where it comes from
	}
	return errors.Join(err, conn.Close())
}
