package interchange_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/umpire-dev/umpire/cmd/umpire/internal/interchange"
	"github.com/umpire-dev/umpire/rules/event"
)

// The part of the schema of OCSF 1.5.0 (https://schema.ocsf.io/1.5.0, Apache-2.0) that is written, as tables: what kind of value each
// attribute of an object has, which ones are required ("!"), of which one at least has to be there ("+"), and what the values of
// enumerations are called. An attribute that is not in them is not written.
var (
	base = object{
		"activity_id": "integer!", "activity_name": "string", "category_uid": "integer!", "category_name": "string", "class_uid": "integer!",
		"class_name": "string", "type_uid": "integer!", "type_name": "string", "severity_id": "integer!", "severity": "string",
		"time": "integer!", "end_time": "integer", "message": "string", "status_id": "integer", "status": "string", "metadata": "metadata!",
		"unmapped": "any",
		// of the profile security_control
		"action_id": "integer", "action": "string", "disposition_id": "integer", "disposition": "string", "firewall_rule": "entity",
		"policy": "entity", "is_alert": "boolean",
	}
	classes = map[float64]object{
		6003: {"actor": "actor!", "api": "api!", "src_endpoint": "endpoint!", "dst_endpoint": "endpoint"},
		2004: {"finding_info": "finding_info!", "evidences": "[evidence]"},
	}
	objects = map[string]object{
		"metadata":      {"version": "string!", "product": "product!", "uid": "string", "sequence": "integer", "profiles": "[string]"},
		"product":       {"name": "string!", "vendor_name": "string!", "version": "string"},
		"entity":        {"name": "string+", "uid": "string+"},
		"actor":         {"user": "user+", "session": "session+", "app_name": "string+"},
		"user":          {"name": "string+", "uid": "string+"},
		"session":       {"uid": "string"},
		"api":           {"operation": "string!", "service": "entity", "request": "request", "response": "response"},
		"request":       {"uid": "string!", "data": "any"},
		"response":      {"code": "integer", "error": "string"},
		"endpoint":      {"name": "string+", "svc_name": "string+"},
		"finding_info":  {"uid": "string!", "title": "string!", "desc": "string", "created_time": "integer", "analytic": "analytic", "related_events": "[related_event]"},
		"analytic":      {"name": "string+", "type_id": "integer!", "type": "string"},
		"related_event": {"uid": "string!", "type_uid": "integer"},
		"evidence":      {"actor": "actor+", "api": "api+", "src_endpoint": "endpoint+", "dst_endpoint": "endpoint+"},
	}
	captions = map[string]map[float64]string{
		"category_uid":   {2: "Findings", 6: "Application Activity"},
		"class_uid":      {2004: "Detection Finding", 6003: "API Activity"},
		"activity_id":    {99: "tools/call"}, // Other: any name
		"6003.status_id": {0: "Unknown", 1: "Success", 2: "Failure", 99: "*"},
		"2004.status_id": {0: "Unknown", 1: "New", 2: "In Progress", 3: "Suppressed", 4: "Resolved", 5: "Archived", 99: "*"},
		"severity_id":    {0: "Unknown", 1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical", 6: "Fatal"},
		"action_id":      {0: "Unknown", 1: "Allowed", 2: "Denied", 3: "Observed", 4: "Modified"},
		"disposition_id": {0: "Unknown", 1: "Allowed", 2: "Blocked", 8: "Approved", 14: "Delayed", 15: "Detected", 16: "No Action", 17: "Logged", 25: "Rejected"},
		"type_uid":       {200401: "Detection Finding: Create", 200403: "Detection Finding: Close", 600399: "API Activity: Other"},
	}
	names = map[string]string{
		"category_uid": "category_name", "class_uid": "class_name", "activity_id": "activity_name", "status_id": "status", "severity_id": "severity",
		"action_id": "action", "disposition_id": "disposition", "type_uid": "type_name",
	}
	conform = map[string][]string{ // the dispositions that the schema names for an action
		"Allowed": {"Allowed", "Approved", "Delayed", "No Action"}, "Denied": {"Blocked", "Rejected"}, "Observed": {"Logged", "Detected"}, "Modified": {"Delayed"},
	}
)

type object map[string]string

// conforms says what of a document is not as the schema has it.
func conforms(doc map[string]any) (wrong []string) {
	class, _ := doc["class_uid"].(float64)
	if classes[class] == nil {
		return []string{fmt.Sprintf("class %v is not known", doc["class_uid"])}
	}
	whole := object{}
	for _, some := range []object{base, classes[class]} {
		for name, kind := range some {
			whole[name] = kind
		}
	}
	wrong = fits("", doc, whole)
	for id, name := range names {
		n, ok := doc[id].(float64)
		all := captions[id]
		if of := captions[fmt.Sprintf("%.0f.%s", class, id)]; of != nil {
			all = of
		}
		if id == "activity_id" && class == 2004 {
			all = map[float64]string{1: "Create", 2: "Update", 3: "Close"}
		}
		if want := all[n]; !ok || want == "" || want != "*" && doc[name] != want {
			wrong = append(wrong, fmt.Sprintf("%s %v is not called %v", id, doc[id], doc[name]))
		}
	}
	if doc["type_uid"] != class*100+doc["activity_id"].(float64) || doc["category_uid"] != math.Floor(class/1000) {
		wrong = append(wrong, fmt.Sprintf("type_uid %v, category_uid %v", doc["type_uid"], doc["category_uid"]))
	}
	if !slices.Contains(conform[doc["action"].(string)], doc["disposition"].(string)) {
		wrong = append(wrong, fmt.Sprintf("disposition %v does not conform to action %v", doc["disposition"], doc["action"]))
	}
	return wrong
}

// fits compares a value with what its kind is.
func fits(path string, v any, of object) (wrong []string) {
	m, ok := v.(map[string]any)
	if !ok {
		return []string{path + " is no object"}
	}
	one, choice := false, false
	for name, kind := range of {
		needed, some := strings.HasSuffix(kind, "!"), strings.HasSuffix(kind, "+")
		value, there := m[name]
		choice, one = choice || some, one || some && there
		if needed && !there {
			wrong = append(wrong, path+name+" is missing")
		}
		if there {
			wrong = append(wrong, is(path+name, value, strings.TrimRight(kind, "!+"))...)
		}
	}
	if choice && !one {
		wrong = append(wrong, path+" has nothing of what it has to say something")
	}
	for name := range m {
		if of[name] == "" {
			wrong = append(wrong, path+name+" is not in the schema")
		}
	}
	return wrong
}

func is(path string, v any, kind string) (wrong []string) {
	if each, ok := strings.CutPrefix(kind, "["); ok {
		list, ok := v.([]any)
		if !ok {
			return []string{path + " is no array"}
		}
		for i, v := range list {
			wrong = append(wrong, is(path+"."+strconv.Itoa(i), v, strings.TrimSuffix(each, "]"))...)
		}
		return wrong
	}
	ok := true
	switch kind {
	case "any":
	case "string":
		_, ok = v.(string)
	case "boolean":
		_, ok = v.(bool)
	case "integer":
		n, isNumber := v.(float64)
		ok = isNumber && n == math.Trunc(n)
	default:
		return fits(path+".", v, objects[kind])
	}
	if !ok {
		wrong = append(wrong, fmt.Sprintf("%s is %v, no %s", path, v, kind))
	}
	return wrong
}

// exportedOCSF returns what is written of a history.
func exportedOCSF(t interface{ Fatal(...any) }, h interchange.History) (docs []map[string]any) {
	var out bytes.Buffer
	if err := interchange.OCSF(&out, h, every, "v1"); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		var doc map[string]any
		if err := json.Unmarshal([]byte(line), &doc); err != nil {
			t.Fatal(err)
		}
		docs = append(docs, doc)
	}
	return docs
}

func TestOCSFIsAsItsSchemaSays(t *testing.T) {
	uids := map[any]bool{}
	var got []string
	docs := exportedOCSF(t, recorded("pay", "it is so"))
	for _, doc := range docs {
		for _, wrong := range conforms(doc) {
			t.Errorf("%s: %v", wrong, doc)
		}
		uid := doc["metadata"].(map[string]any)["uid"]
		if uids[uid] {
			t.Errorf("two events have the uid %v", uid)
		}
		uids[uid] = true
		got = append(got, fmt.Sprintf("%.0f %.0f %v %v %v %v", doc["class_uid"], doc["activity_id"], doc["severity"], doc["status"], doc["action"], doc["disposition"]))
	}
	related := 0
	for _, doc := range docs { // what led to a finding is found by its uid
		info, _ := doc["finding_info"].(map[string]any)
		list, _ := info["related_events"].([]any)
		for _, r := range list {
			if related++; !uids[r.(map[string]any)["uid"]] {
				t.Errorf("no event has the uid of %v", r)
			}
		}
	}
	want := []string{
		"6003 99 Informational Success Allowed Allowed",
		"6003 99 High Failure Denied Blocked", "2004 1 High New Denied Blocked",
		"6003 99 Informational Failure Allowed Approved", "2004 1 Medium New Modified Delayed", "2004 3 Informational Resolved Allowed Approved",
		"6003 99 Medium Failure Modified Delayed", "2004 1 Medium New Modified Delayed",
		"6003 99 Informational Unknown Observed Logged",
	}
	if !slices.Equal(got, want) || related == 0 {
		t.Errorf("%s\nwant\n%s; %d related", strings.Join(got, "\n"), strings.Join(want, "\n"), related)
	}
}

// Whatever clients, servers and rules are called, and whatever is missing.
func TestOCSFOfAnythingIsAsItsSchemaSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		call := rapid.Make[event.Call]().Draw(t, "call")
		call.ID, call.Args, call.Seen = json.RawMessage("1"), json.RawMessage(`{"a":[1]}`), rapid.Bool().Draw(t, "seen")
		events := []event.Event{{Seq: 1, At: noon, Body: &call}}
		add := func(b event.Body) uint64 {
			n := uint64(len(events) + 1)
			events = append(events, event.Event{Seq: n, At: noon, Cause: 1, Body: b})
			return n
		}
		action := rapid.SampledFrom([]event.Action{event.Deny, event.Hold, event.Log, event.Allow})
		if !call.Seen {
			v := rapid.Make[event.Verdict]().Draw(t, "verdict")
			v.Action, v.After = action.Draw(t, "action"), 0
			add(&v)
			if v.Action == event.Hold && rapid.Bool().Draw(t, "settled") {
				end := rapid.Make[event.Verdict]().Draw(t, "end")
				end.Action, end.After = rapid.SampledFrom([]event.Action{event.Deny, event.Allow, event.Log}).Draw(t, "ended"), add(&event.Expired{})
				add(&end)
			}
		}
		if rapid.Bool().Draw(t, "answered") {
			r := rapid.Make[event.Result]().Draw(t, "result")
			r.Content = nil
			add(&r)
		}
		for _, doc := range exportedOCSF(t, past(events)) {
			for _, wrong := range conforms(doc) {
				t.Errorf("%s: %v", wrong, doc)
			}
		}
	})
}
