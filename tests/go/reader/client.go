package main

import (
	"encoding/json"
	"fmt"
	"os"

	"example.test/reader/tidings"
)

const operation = "from-go"

// findings are what a whole client found; every name is one of the export.
type findings struct {
	Outcome  tidings.SubscribedOutcome  `json:"outcome"`
	Resumed  tidings.SubscribedOutcome  `json:"resumed"`
	Progress float64                    `json:"progress"`
	Verdict  tidings.VerdictValue       `json:"verdict"`
	Reason   string                     `json:"reason"`
	Ended    tidings.CancelOutcomeValue `json:"ended"`
	Refused  tidings.ErrorCode          `json:"refused"`
	Final    []int                      `json:"final"`
}

// session is one connection that speaks tidings.v1.
type session struct {
	connection *websocket
	sent       int
	waiting    []tidings.WebSocketMessage
}

// hub is where a client connects, and the token with which it does.
type hub struct{ address, token string }

func (h hub) open() (*session, error) {
	connection, err := dial(h.address, "/ws?channels=none", tidings.Subprotocol)
	if err != nil {
		return nil, err
	}
	s := &session{connection: connection}
	var established tidings.ConnectionEstablished
	if err := s.await(tidings.MessageTypeConnectionEstablished, &established); err != nil {
		return nil, err
	}
	if established.Auth != "required" {
		return s, nil
	}
	if err := s.await(tidings.MessageTypeAuthRequired, &tidings.AuthRequired{}); err != nil {
		return nil, err
	}
	return s, s.call(tidings.MessageTypeAuthToken, tidings.AuthToken{Token: h.token}, &tidings.AuthSuccess{})
}

// send sends a command or an event, and returns its id.
func (s *session) send(kind tidings.MessageType, data any, replyTo string) (string, error) {
	s.sent++
	text, err := json.Marshal(data)
	if err != nil {
		return "", err
	}
	message := tidings.WebSocketMessage{Type: kind, Data: text, ReplyTo: replyTo}
	if replyTo == "" {
		message.ID = fmt.Sprint(s.sent)
	}
	if text, err = json.Marshal(message); err != nil {
		return "", err
	}
	return message.ID, s.connection.write(opText, text)
}

// call sends a command or an event, and reads its reply.
func (s *session) call(kind tidings.MessageType, data any, reply any) error {
	id, err := s.send(kind, data, "")
	if err != nil {
		return err
	}
	message, err := s.find(func(m tidings.WebSocketMessage) bool { return m.ReplyTo == id })
	if err != nil {
		return err
	}
	if message.Type == tidings.MessageTypeConnectionError {
		var fault tidings.ErrorData
		if err := json.Unmarshal(message.Data, &fault); err != nil {
			return err
		}
		return &refusal{fault}
	}
	return json.Unmarshal(message.Data, reply)
}

type refusal struct{ fault tidings.ErrorData }

func (r *refusal) Error() string { return r.fault.Code + ": " + r.fault.Message }

func (s *session) await(kind tidings.MessageType, data any) error {
	message, err := s.find(func(m tidings.WebSocketMessage) bool { return m.Type == kind })
	if err != nil {
		return err
	}
	return json.Unmarshal(message.Data, data)
}

func (s *session) find(fits func(tidings.WebSocketMessage) bool) (tidings.WebSocketMessage, error) {
	for index, message := range s.waiting {
		if fits(message) {
			s.waiting = append(s.waiting[:index:index], s.waiting[index+1:]...)
			return message, nil
		}
	}
	for {
		text, err := s.connection.next()
		if err != nil {
			return tidings.WebSocketMessage{}, err
		}
		var message tidings.WebSocketMessage
		if err := json.Unmarshal(text, &message); err != nil {
			return message, err
		}
		if fits(message) {
			return message, nil
		}
		s.waiting = append(s.waiting, message)
	}
}

// act runs a producer that loses its connection and resumes, and a watcher that cancels its operation.
func act(at hub) error {
	var found findings
	position, err := begin(at, &found)
	if err != nil {
		return err
	}
	if err := resume(at, position, &found); err != nil {
		return err
	}
	for code := 1000; code < 4200; code++ {
		if !tidings.ShouldReconnect(code) {
			found.Final = append(found.Final, code)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

func begin(at hub, found *findings) (string, error) {
	producer, err := at.open()
	if err != nil {
		return "", err
	}
	defer producer.connection.close()
	attach := tidings.Attach{ProducerID: "go-1", Operations: []tidings.Claim{}}
	if err := producer.call(tidings.MessageTypeProducerAttach, attach, &tidings.Attached{}); err != nil {
		return "", err
	}
	var subscribed tidings.Subscribed
	since := "now"
	subscribe := tidings.Subscribe{Channels: []string{string(tidings.ChannelTypeOperations)}, Since: &since}
	if err := producer.call(tidings.MessageTypeChannelSubscribe, subscribe, &subscribed); err != nil {
		return "", err
	}
	found.Outcome = subscribed.Outcome
	start := tidings.OperationStartData{OperationID: operation}
	if err := producer.call(tidings.MessageTypeOperationStart, start, &tidings.Accepted{}); err != nil {
		return "", err
	}
	event, err := producer.find(func(m tidings.WebSocketMessage) bool { return m.Type == tidings.MessageTypeOperationStart })
	if err != nil {
		return "", err
	}
	err = producer.call("operation:finish", nil, nil)
	refused, ok := err.(*refusal)
	if !ok {
		return "", fmt.Errorf("an unknown type was not refused: %v", err)
	}
	found.Refused = refused.fault.Code
	return event.Position, nil
}

func resume(at hub, position string, found *findings) error {
	producer, err := at.open()
	if err != nil {
		return err
	}
	defer producer.connection.close()
	attempt := int64(1)
	claims := []tidings.Claim{{OperationID: operation, Attempt: &attempt}}
	var attached tidings.Attached
	attach := tidings.Attach{ProducerID: "go-1", Operations: claims}
	if err := producer.call(tidings.MessageTypeProducerAttach, attach, &attached); err != nil {
		return err
	}
	found.Verdict = attached.Operations[0].Verdict
	progress := tidings.OperationProgressData{OperationID: operation, Progress: 45.5}
	if err := producer.call(tidings.MessageTypeOperationProgress, progress, &tidings.Accepted{}); err != nil {
		return err
	}
	var subscribed tidings.Subscribed
	subscribe := tidings.Subscribe{Channels: []string{"operations/" + operation}, Since: &position}
	if err := producer.call(tidings.MessageTypeChannelSubscribe, subscribe, &subscribed); err != nil {
		return err
	}
	found.Resumed = subscribed.Outcome
	var read tidings.OperationProgressData
	if err := producer.await(tidings.MessageTypeOperationProgress, &read); err != nil {
		return err
	}
	found.Progress = read.Progress
	return cancel(at, producer, found)
}

func cancel(at hub, producer *session, found *findings) error {
	watcher, err := at.open()
	if err != nil {
		return err
	}
	defer watcher.connection.close()
	request := tidings.Cancel{OperationID: operation, Reason: "not needed"}
	id, err := watcher.send(tidings.MessageTypeOperationCancel, request, "")
	if err != nil {
		return err
	}
	push, err := producer.find(func(m tidings.WebSocketMessage) bool { return m.Type == tidings.MessageTypeOperationCancel })
	if err != nil {
		return err
	}
	asked, ok := tidings.NewData(push.Type).(*tidings.CancelPush)
	if !ok {
		return fmt.Errorf("the push has the type %T", tidings.NewData(push.Type))
	}
	if err := json.Unmarshal(push.Data, asked); err != nil {
		return err
	}
	found.Reason = asked.Reason
	answer := tidings.CancelAnswer{Verdict: tidings.CancelAnswerVerdictStopping}
	if _, err := producer.send(tidings.MessageTypeOperationCancelAnswer, answer, push.ID); err != nil {
		return err
	}
	ended := tidings.OperationCancelledData{OperationID: operation, Reason: asked.Reason}
	if err := producer.call(tidings.MessageTypeOperationCancelled, ended, &tidings.Accepted{}); err != nil {
		return err
	}
	reply, err := watcher.find(func(m tidings.WebSocketMessage) bool { return m.ReplyTo == id })
	if err != nil {
		return err
	}
	var outcome tidings.CancelOutcome
	if err := json.Unmarshal(reply.Data, &outcome); err != nil {
		return err
	}
	found.Ended = outcome.Outcome
	return nil
}
