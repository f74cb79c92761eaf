package main

import (
	"encoding/json"
	"time"

	"example.test/reader/tidings"
)

// The names and types of the original contract, as its services use them: this compiles only if the export has them.
var (
	_ = tidings.WebSocketMessage{
		Type:      tidings.MessageTypeOperationStart,
		Timestamp: time.Time{},
		TraceID:   "",
		Data:      json.RawMessage("null"),
		Channel:   tidings.ChannelTypeGlobal,
	}
	_ = tidings.OperationProgressData{
		OperationID: "", Progress: float64(0), CurrentStep: "", TotalSteps: int(0), Message: "",
	}
	_ = tidings.SystemStatusData{
		Status: "", Uptime: int64(0), ActiveOps: int(0), Metrics: map[string]float64{},
	}
	_ = tidings.ErrorData{Code: "", Message: "", Details: "", Recoverable: false, Hint: ""}

	_ = []tidings.MessageType{
		tidings.MessageTypeOperationProgress,
		tidings.MessageTypeOperationComplete,
		tidings.MessageTypeOperationFailed,
		tidings.MessageTypeSystemStatus,
		tidings.MessageTypeSystemAlert,
		tidings.MessageTypeSystemMetrics,
		tidings.MessageTypePipelineStart,
		tidings.MessageTypePipelineProgress,
		tidings.MessageTypePipelineComplete,
	}
	_ = []tidings.ChannelType{tidings.ChannelTypeOperations, tidings.ChannelTypeData, tidings.ChannelTypeSystem}
)
