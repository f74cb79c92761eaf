// Reads messages of a tidings hub with the exported types, and rejects unknown members.
//
//	reader decode            reads messages from stdin, one per line
//	reader watch ADDR PATH   reads messages from a hub's WebSocket, and sends it the lines of stdin
//	reader act ADDR          is a producer and a watcher: subscribes, publishes, resumes, cancels and is cancelled
//
// For each message it writes one line of JSON: the message's type, the Go type of its payload and the message as Go
// writes it; or the message's fault, and then the exit code is 1.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"example.test/reader/tidings"
)

type report struct {
	Type  tidings.MessageType       `json:"type,omitempty"`
	Go    string                    `json:"go,omitempty"`
	Again *tidings.WebSocketMessage `json:"again,omitempty"`
	Fault string                    `json:"fault,omitempty"`
}

func main() {
	var fine bool
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "decode":
		fine, err = decode(os.Stdin)
	case len(os.Args) == 4 && os.Args[1] == "watch":
		fine, err = watch(os.Args[2], os.Args[3], os.Stdin)
	case len(os.Args) == 4 && os.Args[1] == "act":
		fine, err = true, act(hub{os.Args[2], os.Args[3]})
	default:
		err = fmt.Errorf("reader decode, reader watch ADDR PATH, or reader act ADDR TOKEN")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if !fine {
		os.Exit(1)
	}
}

func decode(lines io.Reader) (bool, error) {
	fine := true
	scanner := bufio.NewScanner(lines)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		fine = describe(scanner.Bytes()) && fine
	}
	return fine, scanner.Err()
}

func watch(address, path string, lines io.Reader) (bool, error) {
	connection, err := dial(address, path, "")
	if err != nil {
		return false, err
	}
	defer connection.close()
	go func() {
		scanner := bufio.NewScanner(lines)
		for scanner.Scan() {
			if connection.write(opText, scanner.Bytes()) != nil {
				return
			}
		}
	}()
	fine := true
	for {
		message, err := connection.next()
		if err == io.EOF {
			return fine, nil
		}
		if err != nil {
			return false, err
		}
		fine = describe(message) && fine
	}
}

// describe writes the report of a message, and returns whether the message is valid.
func describe(text []byte) bool {
	found, err := read(text)
	if err != nil {
		found = report{Fault: err.Error()}
	}
	line, err := json.Marshal(found)
	if err != nil {
		line, _ = json.Marshal(report{Fault: err.Error()})
	}
	fmt.Println(string(line))
	return found.Fault == "" && err == nil
}

func read(text []byte) (report, error) {
	var message tidings.WebSocketMessage
	if err := strictly(text, &message); err != nil {
		return report{}, err
	}
	data := tidings.NewData(message.Type)
	if data == nil {
		return report{}, fmt.Errorf("unknown type %q", message.Type)
	}
	if err := strictly(message.Data, data); err != nil {
		return report{}, fmt.Errorf("%s: %w", message.Type, err)
	}
	again, err := json.Marshal(data)
	if err != nil {
		return report{}, err
	}
	message.Data = again
	return report{Type: message.Type, Go: fmt.Sprintf("%T", data), Again: &message}, nil
}

func strictly(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if decoder.More() {
		return fmt.Errorf("something follows the JSON value")
	}
	return nil
}
