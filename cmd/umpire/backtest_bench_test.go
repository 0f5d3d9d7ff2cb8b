package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/config"
	"github.com/umpire-dev/umpire/examples/policies"
	"github.com/umpire-dev/umpire/rules"
	"github.com/umpire-dev/umpire/rules/event"
	"github.com/umpire-dev/umpire/store"
	"github.com/umpire-dev/umpire/store/storetest"
)

// busy makes the history of so many calls within 60 days, and returns its state directory: sessions of 50 calls, each
// with a request of its user, of agents that look up orders, pay some of them back, read files and mails, fetch pages and
// write mails; twenty sessions at a time.
func busy(b *testing.B, calls int) (dir string) {
	b.Helper()
	dir = b.TempDir()
	db, err := store.Open(store.Config{Path: filepath.Join(dir, config.HistoryFile), Async: true})
	if err != nil {
		b.Fatal(err)
	}
	p, err := rules.Compile([]event.Source{policies.Starter()}, event.Env{OS: "linux", Home: "/home/user"})
	if err != nil {
		b.Fatal(err)
	}
	const length, abreast = 50, 20
	begin := event.At(time.Now().Add(-60 * 24 * time.Hour))
	w := &writing{b: b, db: db, at: begin, seq: db.Last()}
	w.add("", 0, p.Loaded())
	for _, server := range []string{"billing", "files", "mail", "web"} {
		w.add("", 0, &event.Catalog{Server: server, Complete: true, Tools: benchTools(server)})
	}
	for i := range calls {
		w.at = begin.Add(time.Duration(float64(i) / float64(calls) * float64(60*24*time.Hour)))
		block := i / (length * abreast)
		within, lane := i%(length*abreast)/abreast, i%abreast
		session := "s" + strconv.Itoa(block*abreast+lane+1)
		peer := event.Peer{Principal: "local:ann", Agent: "agent-" + strconv.Itoa(lane%7), Client: event.Client{Name: "bench", Version: "1"}}
		order := block*7919 + lane*101 + within
		if within == 0 {
			w.add(session, 0, &event.Turn{
				Role: event.RoleUser, Source: "api", Trust: event.Trusted, Peer: peer,
				Text: fmt.Sprintf("Please look through my orders, pay back order ord_%d if it was not delivered, and write a mail to ann%d@example.com about it.", order, lane), Size: 140,
			})
		}
		if w.call(session, peer, i, within, order, lane); len(w.events) > 10_000 {
			w.flush()
		}
	}
	w.flush()
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	return dir
}

// writing appends events in large parts.
type writing struct {
	b      *testing.B
	db     *store.DB
	at     event.Time
	seq    uint64
	events []event.Event
}

func (w *writing) add(session string, cause uint64, body event.Body) uint64 {
	w.seq++
	w.events = append(w.events, event.Event{V: event.Version, Seq: w.seq, At: w.at, Session: session, Cause: cause, Body: body})
	return w.seq
}

func (w *writing) flush() {
	if err := storetest.Append(w.db, w.events...); err != nil {
		w.b.Fatal(err)
	}
	w.events = nil
}

func (w *writing) call(session string, peer event.Peer, i, within, order, lane int) {
	server, tool, args, result := "billing", "get_order", fmt.Sprintf(`{"order_id":"ord_%d"}`, order-within%10), ""
	switch within % 10 {
	case 1:
		tool, args = "issue_refund", fmt.Sprintf(`{"order_id":"ord_%d","customer_id":"c_%d","amount":%d.50}`, order-1, order%5000, order%90)
		result = fmt.Sprintf(`{"content":[{"type":"text","text":"refund re_%d of order ord_%d was paid"}]}`, i, order)
	case 4, 5:
		server, tool, args = "files", "read_file", fmt.Sprintf(`{"path":"/home/user/project/notes/%d.md"}`, order)
		result = fmt.Sprintf(`{"content":[{"type":"text","text":"# Notes of week %d\n\nThe parcel of customer c_%d came on Tuesday; the depot in Hall %d has the rest. Prices stay as they are until spring, and the list of suppliers is in the annex."}]}`, order%52, order%5000, order%40)
	case 6, 7:
		server, tool, args = "mail", "search", fmt.Sprintf(`{"query":"order ord_%d","limit":5}`, order)
		result = fmt.Sprintf(`{"content":[{"type":"text","text":"[{\"from\":\"c%d@example.org\",\"subject\":\"Where is my parcel?\",\"body\":\"Hello, I ordered a lamp three weeks ago (ord_%d), and nothing has come. Kind regards, Kim\"}]"}]}`, order%5000, order)
	case 8:
		server, tool, args = "web", "fetch", fmt.Sprintf(`{"url":"https://status.example.com/parcels/%d"}`, order)
		result = fmt.Sprintf(`{"content":[{"type":"text","text":"Parcel %d: in transit, expected on day %d. Sorting centre Linz. Weight 1.2 kg."}]}`, order, order%30)
	case 9:
		server, tool, args = "mail", "send", fmt.Sprintf(`{"to":"ann%d@example.com","subject":"Your order","body":"We have looked into order ord_%d, and it is on its way."}`, lane, order)
		result = `{"content":[{"type":"text","text":"sent"}]}`
	default:
		result = fmt.Sprintf(`{"content":[{"type":"text","text":"{\"order_id\":\"ord_%d\",\"customer_id\":\"c_%d\",\"state\":\"shipped\",\"items\":[{\"sku\":\"A-%d\",\"n\":1,\"price\":\"%d.50\"}]}"}]}`, order, order%5000, order%800, order%90)
	}
	call := w.add(session, 0, &event.Call{Link: "l" + session, Server: server, Tool: tool, ID: json.RawMessage(strconv.Itoa(i)), Args: json.RawMessage(args), Size: len(args), Peer: peer})
	w.add(session, call, &event.Verdict{Action: event.Allow, Why: "no rule objects: runaway-loop 3 of 6000", Policy: "p"})
	outcome := event.OutcomeOK
	if i%40 == 7 {
		outcome = event.OutcomeFailed
	}
	w.add(session, call, &event.Result{Server: server, Tool: tool, Outcome: outcome, Content: json.RawMessage(result), Size: len(result)})
}

func benchTools(server string) (out []event.Tool) {
	for _, t := range map[string][][2]string{
		"billing": {{"get_order", "order_id"}, {"issue_refund", "order_id customer_id amount"}},
		"files":   {{"read_file", "path"}}, "mail": {{"search", "query limit"}, {"send", "to subject body"}}, "web": {{"fetch", "url"}},
	}[server] {
		out = append(out, event.Tool{Name: t[0], Description: "Does " + t[0], InputSchema: json.RawMessage(schemaOf(t[1])), Pin: server + t[0]})
	}
	return out
}

// schemaOf returns a schema with these properties, of whatever type.
func schemaOf(names string) string {
	properties := map[string]any{}
	for _, n := range strings.Fields(names) {
		properties[n] = map[string]any{}
	}
	text, err := json.Marshal(map[string]any{"type": "object", "properties": properties, "additionalProperties": false})
	if err != nil {
		panic(err)
	}
	return string(text)
}

// BenchmarkBackTest tries policies on a history of a million calls, or of as many as UMPIRE_CALLS says.
func BenchmarkBackTest(b *testing.B) {
	calls := 1_000_000
	if n, err := strconv.Atoi(os.Getenv("UMPIRE_CALLS")); err == nil {
		calls = n
	}
	dir := os.Getenv("UMPIRE_BENCH_STATE")
	if dir == "" {
		dir = busy(b, calls)
	}
	for _, name := range []string{"starter.yaml", "refunds.yaml"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if status := run([]string{"replay", "--state", dir, "--policy", filepath.Join("..", "..", "examples", "policies", name)}, io.Discard, os.Stderr); status != 0 {
					b.Fatal(status)
				}
			}
			b.ReportMetric(float64(calls)*float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}
