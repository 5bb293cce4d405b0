package broker

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"thalweg/broker/internal/memnet"
	"thalweg/internal/memory"
)

// frameOf is a request on the wire, with so many bytes of a tagged field that no broker knows.
func frameOf(req kmsg.Request, padding int) []byte {
	req.SetVersion(req.MaxVersion())
	frame := binary.BigEndian.AppendUint16(make([]byte, 4), uint16(req.Key()))
	frame = binary.BigEndian.AppendUint16(frame, uint16(req.MaxVersion()))
	frame = append(frame, 0, 0, 0, 1, 0xff, 0xff)
	if padding == 0 {
		frame = append(frame, 0)
	} else {
		frame = binary.AppendUvarint(append(frame, 1, 100), uint64(padding))
		frame = append(frame, make([]byte, padding)...)
	}
	frame = req.AppendTo(frame)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	return frame
}

// connect serves a connection of a broker that is not opened.
func connect(t *testing.T, b *broker) net.Conn {
	client, served := memnet.Pair("client", memoryAddr)
	ctx, cancel := context.WithCancel(t.Context())
	c := newConn(b, served, cancel)
	go c.serve(ctx)
	return client
}

func answered(t *testing.T, c net.Conn) {
	t.Helper()
	var head [4]byte
	_, err := io.ReadFull(c, head[:])
	require.NoError(t, err)
	_, err = io.ReadFull(c, make([]byte, binary.BigEndian.Uint32(head[:])))
	require.NoError(t, err)
}

func silent(t *testing.T, c net.Conn) {
	t.Helper()
	require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Millisecond)))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, c.SetReadDeadline(time.Time{}))
}

// A large request is not read before there is memory for it. Neither do small ones wait for that, nor does a request
// whose answer is long in coming keep the memory, nor a client that stops in the middle of a request.
func TestLargeRequestsWaitForMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 600 << 10
		share := memory.NewShare(memory.Requests, 2<<20) // of which frames have a half
		b := &broker{requestMemory: requestMemoryOf(share)}
		b.cfg = Config{}.withDefaults()
		polled := make(chan struct{})
		at := func(key kmsg.Key, complete completion) {
			b.handlers[int16(key)] = &handler{0, 99, func(context.Context, *request) completion { return complete }}
		}
		b.handlers = map[int16]*handler{}
		at(kmsg.Heartbeat, ready(kmsg.NewPtrHeartbeatResponse()))
		at(kmsg.Metadata, ready(kmsg.NewPtrMetadataResponse()))
		at(kmsg.JoinGroup, func(context.Context) (answer, error) {
			<-polled
			return answer{body: kmsg.NewPtrJoinGroupResponse()}, nil
		})
		write := func(c net.Conn, bytes []byte) {
			_, err := c.Write(bytes)
			require.NoError(t, err)
		}
		large := frameOf(kmsg.NewPtrMetadataRequest(), size)

		waits := connect(t, b) // for its answer, without memory
		write(waits, frameOf(kmsg.NewPtrJoinGroupRequest(), size))
		synctest.Wait()
		require.Zero(t, share.UsedBytes())

		slow, other, small := connect(t, b), connect(t, b), connect(t, b)
		write(slow, large[:size/2])
		synctest.Wait()
		write(other, large)
		write(small, frameOf(kmsg.NewPtrHeartbeatRequest(), 0))
		answered(t, small)
		silent(t, other)
		write(slow, large[size/2:])
		answered(t, slow)
		answered(t, other)
		synctest.Wait()
		require.Zero(t, share.UsedBytes())

		write(slow, large[:size/2])
		synctest.Wait()
		write(other, large)
		began := time.Now()
		answered(t, other)
		require.Equal(t, silenceMax, time.Since(began))
		_, err := slow.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "it was disconnected")

		for range 3 { // what is not there yet has no memory
			c := connect(t, b)
			defer c.Close()
			write(c, large[:smallFrameBytes])
		}
		began = time.Now()
		write(other, large)
		answered(t, other)
		require.Equal(t, began, time.Now())

		trickle := connect(t, b) // alone, but not forever
		write(trickle, large[:smallFrameBytes+4])
		began = time.Now()
		for at := smallFrameBytes + 4; ; at++ {
			if _, err := trickle.Write(large[at : at+1]); err != nil {
				break
			}
			time.Sleep(stallLook / 2)
		}
		require.InDelta(t, stallMax, time.Since(began), float64(2*stallLook))

		close(polled)
		answered(t, waits)
		for _, c := range []net.Conn{waits, slow, other, small} {
			require.NoError(t, c.Close())
		}
	})
}

// A large request other than Produce is begun when nothing else of its connection waits for an answer, so that a client
// that sends many does not have them all decoded. It has no memory until then.
func TestLargeRequestsFollowOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		share := memory.NewShare(memory.Requests, 2<<20)
		b := &broker{requestMemory: requestMemoryOf(share)}
		b.cfg = Config{}.withDefaults()
		one, begun := make(chan struct{}), 0
		b.handlers = map[int16]*handler{int16(kmsg.Metadata): {0, 99, func(context.Context, *request) completion {
			begun++
			return func(context.Context) (answer, error) {
				<-one
				return answer{body: kmsg.NewPtrMetadataResponse()}, nil
			}
		}}}
		c := connect(t, b)
		large := frameOf(kmsg.NewPtrMetadataRequest(), smallFrameBytes)
		go func() {
			for range 3 {
				if _, err := c.Write(large); err != nil {
					t.Errorf("write: %v", err)
				}
			}
		}()
		for i := range 3 {
			synctest.Wait()
			require.Equal(t, i+1, begun)
			require.Zero(t, share.UsedBytes())
			one <- struct{}{}
			answered(t, c)
		}
		require.NoError(t, c.Close())
	})
}

// A client that does not take its answer is disconnected when another waits for the memory, and not before.
func TestAnswersThatNobodyTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 4 << 20 // more than a connection buffers
		share := memory.NewShare(memory.Requests, 4*size)
		b := &broker{requestMemory: requestMemoryOf(share)}
		b.cfg = Config{}.withDefaults()
		b.handlers = map[int16]*handler{int16(kmsg.Heartbeat): {0, 4, func(context.Context, *request) completion {
			return func(ctx context.Context) (answer, error) {
				if err := b.answers.Enter(ctx, size); err != nil {
					return answer{}, err
				}
				return answer{parts: [][]byte{make([]byte, size/3), make([]byte, size-size/3)}, held: size}, nil
			}
		}}}
		ask := func(c net.Conn) {
			_, err := c.Write(frameOf(kmsg.NewPtrHeartbeatRequest(), 0))
			require.NoError(t, err)
			synctest.Wait()
		}
		patient, stuck, other := connect(t, b), connect(t, b), connect(t, b)
		ask(patient)
		time.Sleep(5 * time.Minute)
		answered(t, patient)
		synctest.Wait()
		require.Zero(t, share.UsedBytes())

		ask(stuck)
		began := time.Now()
		ask(other)
		require.EqualValues(t, size, share.UsedBytes())
		answered(t, other)
		require.LessOrEqual(t, time.Since(began), silenceMax+stallLook) // the first look may find that it has taken some
		_, err := io.ReadFull(stuck, make([]byte, size))
		require.Error(t, err, "it was disconnected")
		synctest.Wait()
		require.Zero(t, share.UsedBytes())
		for _, c := range []net.Conn{patient, stuck, other} {
			require.NoError(t, c.Close())
		}
	})
}
