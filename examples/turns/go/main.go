// Turns tells Umpire what is said in a conversation: go run ./examples/turns/go. $UMPIRE is where umpire serve listens.
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
)

// Turn is one piece of a conversation. An agent tells it before it acts on it.
type Turn struct {
	Agent        string   `json:"agent,omitempty"`        // as the agent calls itself to MCP servers, in clientInfo
	Conversation string   `json:"conversation,omitempty"` // and as _meta.sessionId of its calls, so that both are one session
	Turn         string   `json:"turn,omitempty"`         // a turn that is told again under the same id is recorded once
	Role         string   `json:"role"`                   // user, assistant, system or tool
	Trust        string   `json:"trust,omitempty"`        // "untrusted" if somebody else can have written it
	Text         string   `json:"text,omitempty"`
	Calls        []string `json:"calls,omitempty"` // ids of the tool calls that it makes or answers
}

func say(ctx context.Context, t Turn) (seq uint64, err error) {
	body, err := json.Marshal(t)
	if err != nil {
		return 0, err
	}
	url := cmp.Or(os.Getenv("UMPIRE"), "http://127.0.0.1:7777") + "/v1/turns"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	var answer struct {
		Seq   uint64
		Error string
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return 0, err
	}
	if answer.Error != "" {
		return 0, fmt.Errorf("umpire: %s", answer.Error)
	}
	return answer.Seq, nil
}

func main() {
	for _, t := range []Turn{
		{Turn: "1", Role: "user", Text: "Please pay the rent."},
		{Turn: "2", Role: "assistant", Text: "I look it up.", Calls: []string{"call_1"}},
		{Turn: "3", Role: "tool", Text: "Rent: 980.00, to DE02…", Calls: []string{"call_1"}},
	} {
		t.Agent, t.Conversation = "rent-bot", "42"
		seq, err := say(context.Background(), t)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("turn", t.Turn, "is event", seq)
	}
}
