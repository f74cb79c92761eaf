// A client from oapi-codegen: publishes one event, reads it back, and shows the operation. Its argument is the hub.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"example.test/openapi/api"
)

type findings struct {
	Position string             `json:"position"`
	Refused  string             `json:"refused"`
	Names    []string           `json:"names"`
	State    api.OperationState `json:"state"`
}

func main() {
	found, err := run(context.Background(), os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		os.Exit(1)
	}
}

func run(ctx context.Context, hub string) (findings, error) {
	var found findings
	client, err := api.NewClientWithResponses(hub)
	if err != nil {
		return found, err
	}
	name := "a client"
	published, err := publish(ctx, client, api.PublishOperationStart{
		Type: api.PublishOperationStartTypeOperationStart,
		Data: api.OperationStartData{OperationId: "from-go", Name: &name},
	})
	if err != nil {
		return found, err
	}
	accepted, err := published.JSON200.AsAccepted()
	if err != nil {
		return found, err
	}
	found.Position = accepted.Position

	history, err := client.ReadHistoryWithResponse(ctx, &api.ReadHistoryParams{Channel: &[]string{"operations"}})
	if err != nil {
		return found, err
	}
	for _, event := range history.JSON200.Events {
		// The type of the event determines the type of its data.
		value, err := event.ValueByDiscriminator()
		if err != nil {
			return found, err
		}
		if start, ok := value.(api.OperationStartEvent); ok {
			found.Names = append(found.Names, *start.Data.Name)
		}
	}
	shown, err := client.ShowOperationWithResponse(ctx, "from-go", nil)
	if err != nil {
		return found, err
	}
	found.State = shown.JSON200.State
	missing, err := client.ShowOperationWithResponse(ctx, "nosuch", nil)
	if err != nil {
		return found, err
	}
	found.Refused = missing.JSON404.Code
	return found, nil
}

func publish(
	ctx context.Context, client *api.ClientWithResponses, event api.PublishOperationStart,
) (*api.PublishResponse, error) {
	var publication api.Publication
	if err := publication.FromPublishOperationStart(event); err != nil {
		return nil, err
	}
	var body api.PublishJSONRequestBody
	if err := body.FromPublication(publication); err != nil {
		return nil, err
	}
	published, err := client.PublishWithResponse(ctx, nil, body)
	if err == nil && published.JSON200 == nil {
		err = fmt.Errorf("the hub answers %s: %s", published.Status(), published.Body)
	}
	return published, err
}
