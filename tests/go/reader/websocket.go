package main

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	opContinuation = 0x0
	opText         = 0x1
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xA
	final          = 0x80
	masked         = 0x80
	patience       = 30 * time.Second
)

// websocket is the client's side of one connection (RFC 6455), without extensions.
type websocket struct {
	stream  net.Conn
	reader  *bufio.Reader
	writing sync.Mutex
}

// dial opens a connection; an empty subprotocol offers none.
func dial(address, path, subprotocol string) (*websocket, error) {
	stream, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	connection := &websocket{stream: stream, reader: bufio.NewReader(stream)}
	if err := connection.shake(address, path, subprotocol); err != nil {
		stream.Close()
		return nil, err
	}
	return connection, nil
}

func (w *websocket) shake(address, path, subprotocol string) error {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	key := base64.StdEncoding.EncodeToString(nonce)
	offer := ""
	if subprotocol != "" {
		offer = "Sec-WebSocket-Protocol: " + subprotocol + "\r\n"
	}
	_, err := fmt.Fprintf(w.stream, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n%s\r\n", path, address, key, offer)
	if err != nil {
		return err
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	wanted := base64.StdEncoding.EncodeToString(sum[:])
	status, err := w.reader.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(status, "HTTP/1.1 101 ") {
		return fmt.Errorf("the hub answers %q", strings.TrimSpace(status))
	}
	accepted := false
	for {
		line, err := w.reader.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimSpace(line)
		if line == "" {
			break
		}
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "Sec-WebSocket-Accept") {
			accepted = strings.TrimSpace(value) == wanted
		}
	}
	if !accepted {
		return fmt.Errorf("the hub did not answer the key")
	}
	return nil
}

// next returns the next text message; io.EOF after the hub has closed the connection cleanly.
func (w *websocket) next() ([]byte, error) {
	var message []byte
	for {
		code, last, payload, err := w.frame()
		if err != nil {
			return nil, fmt.Errorf("the connection broke: %w", err)
		}
		switch code {
		case opText, opContinuation:
			message = append(message, payload...)
			if last {
				return message, nil
			}
		case opPing:
			if err := w.write(opPong, payload); err != nil {
				return nil, err
			}
		case opClose:
			_ = w.write(opClose, payload)
			return nil, io.EOF
		case opPong:
		default:
			return nil, fmt.Errorf("a frame of kind %d", code)
		}
	}
}

func (w *websocket) frame() (code byte, last bool, payload []byte, err error) {
	if err = w.stream.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return
	}
	var head [2]byte
	if _, err = io.ReadFull(w.reader, head[:]); err != nil {
		return
	}
	length := uint64(head[1] &^ masked)
	if head[1]&masked != 0 {
		err = fmt.Errorf("a masked frame of a server")
		return
	}
	switch length {
	case 126:
		var short [2]byte
		_, err = io.ReadFull(w.reader, short[:])
		length = uint64(binary.BigEndian.Uint16(short[:]))
	case 127:
		var long [8]byte
		_, err = io.ReadFull(w.reader, long[:])
		length = binary.BigEndian.Uint64(long[:])
	}
	if err != nil {
		return
	}
	payload = make([]byte, length)
	_, err = io.ReadFull(w.reader, payload)
	return head[0] & 0x0F, head[0]&final != 0, payload, err
}

// write sends one frame of at most 64 KiB, masked as a client's are.
func (w *websocket) write(code byte, payload []byte) error {
	w.writing.Lock()
	defer w.writing.Unlock()
	frame := []byte{final | code}
	if len(payload) < 126 {
		frame = append(frame, masked|byte(len(payload)))
	} else {
		frame = append(frame, masked|126)
		frame = binary.BigEndian.AppendUint16(frame, uint16(len(payload)))
	}
	var mask [4]byte
	if _, err := rand.Read(mask[:]); err != nil {
		return err
	}
	frame = append(frame, mask[:]...)
	for index, value := range payload {
		frame = append(frame, value^mask[index%4])
	}
	_, err := w.stream.Write(frame)
	return err
}

func (w *websocket) close() {
	w.stream.Close()
}
