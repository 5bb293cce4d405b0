// Record stands between clients and a broker, passes on what they say, and writes down which requests each client
// makes: the seeds of the broker's fuzz targets.
//
//	go run ./internal/kafkatest/record -listen HOST:PORT -broker HOST:PORT -dir DIR        (or: make requests)
//
// The broker has to advertise the address that record listens on. When it is interrupted, it writes a file for each
// client into DIR, with one request of each API and version that the client sent.
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:29092", "address that clients connect to")
	broker := flag.String("broker", "127.0.0.1:29093", "address of the broker, which advertises the other one")
	dir := flag.String("dir", "", "directory for the requests of each client")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *listen, *broker, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "record:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen, broker, dir string) error {
	if dir == "" {
		return errors.New("name a directory with -dir")
	}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	r := newRecorder()
	err = pass(ctx, listener, broker, r)
	return errors.Join(err, r.write(dir))
}

// pass accepts clients until ctx ends, and then ends their connections.
func pass(ctx context.Context, listener net.Listener, broker string, r *recorder) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		client, err := listener.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			cancel()
			return err
		}
		conns.Go(func() { serve(ctx, client, broker, r) })
	}
}

// serve passes one connection on until one of its ends closes.
func serve(ctx context.Context, client net.Conn, broker string, r *recorder) {
	defer client.Close()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", broker)
	if err != nil {
		fmt.Fprintf(os.Stderr, "record: %s is cut off: %v\n", client.RemoteAddr(), err)
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { client.Close() })
	defer stop()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		defer client.Close()
		io.Copy(client, server) // it ends when one of them is gone, which is no failure
	}()
	var c speaker
	for {
		frame, err := passFrame(client, server)
		if err != nil {
			break
		}
		r.take(&c, frame)
	}
	server.Close()
	<-answered
}

// passFrame passes one frame on. A frame of no interest is passed on in pieces, and nil is returned.
func passFrame(from io.Reader, to io.Writer) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[:])
	if size > frameBytesMax {
		if _, err := to.Write(head[:]); err != nil {
			return nil, err
		}
		_, err := io.CopyN(to, from, int64(size))
		return nil, err
	}
	frame := append(make([]byte, 0, 4+size), head[:]...)[:4+size]
	if _, err := io.ReadFull(from, frame[4:]); err != nil {
		return nil, err
	}
	_, err := to.Write(frame)
	return frame[4:], err
}
