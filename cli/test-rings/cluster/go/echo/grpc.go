package main

import (
	"encoding/binary"
	"errors"
	"io"
)

// The one method of istio's EchoTestService that the suite calls: a message with one string in field 1, each way.
const echoMethod = "/proto.EchoTestService/Echo"

const (
	frameHead  = 5
	fieldOne   = 0x0a // field 1, length-delimited
	maxMessage = 1 << 20
)

// toFrame makes an uncompressed gRPC message.
func toFrame(text string) []byte {
	message := append(binary.AppendUvarint([]byte{fieldOne}, uint64(len(text))), text...)
	frame := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
	return append(frame, message...)
}

// fromFrame reads one such message; an empty one has no text.
func fromFrame(from io.Reader) (string, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(from, head[:]); err != nil {
		return "", err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if head[0] != 0 || size > maxMessage {
		return "", errors.New("a frame that is compressed or too long")
	}
	message := make([]byte, size)
	if _, err := io.ReadFull(from, message); err != nil {
		return "", err
	}
	if size == 0 {
		return "", nil
	}
	length, n := binary.Uvarint(message[1:])
	if message[0] != fieldOne || n <= 0 || length != uint64(len(message)-1-n) {
		return "", errors.New("not a message with one string")
	}
	return string(message[1+n:]), nil
}
