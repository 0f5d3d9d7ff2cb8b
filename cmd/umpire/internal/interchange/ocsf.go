package interchange

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/umpire-dev/umpire/rules/event"
)

// ocsfVersion is the version of the Open Cybersecurity Schema Framework that OCSF writes: https://schema.ocsf.io/1.5.0.
const ocsfVersion = "1.5.0"

// The classes of OCSF that are written, and their categories.
const (
	classAPI       = 6003 // API Activity
	classDetection = 2004 // Detection Finding
	classesEach    = 1000 // uids of classes in a category
	activitiesEach = 100  // uids of types in a class
)

// OCSF writes one JSON object a line: an API Activity for every call, and a Detection Finding for each that is held or denied.
// The finding is created when that is decided; one about a hold is closed when the hold has ended. Version is that of umpire.
func OCSF(w io.Writer, history History, about About, version string) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return walk(history, about, func(c *call, s stage) error {
		if s == settled {
			return enc.Encode(finding(c, closed, c.settled, version))
		}
		if err := enc.Encode(activity(c, version)); err != nil {
			return err
		}
		if !c.Seen && !c.first.Action.Passes() {
			return enc.Encode(finding(c, created, c.first, version))
		}
		return nil
	})
}

type (
	// ocsf is what both classes have.
	ocsf struct {
		ActivityID    int      `json:"activity_id"`
		ActivityName  string   `json:"activity_name"`
		CategoryUID   int      `json:"category_uid"`
		CategoryName  string   `json:"category_name"`
		ClassUID      int      `json:"class_uid"`
		ClassName     string   `json:"class_name"`
		TypeUID       int      `json:"type_uid"`
		TypeName      string   `json:"type_name"`
		SeverityID    int      `json:"severity_id"`
		Severity      string   `json:"severity"`
		Time          int64    `json:"time"` // ms since the Unix epoch
		EndTime       int64    `json:"end_time,omitempty"`
		Message       string   `json:"message,omitempty"`
		StatusID      int      `json:"status_id"`
		Status        string   `json:"status"`
		Metadata      metadata `json:"metadata"`
		ActionID      int      `json:"action_id"`
		Action        string   `json:"action"`
		DispositionID int      `json:"disposition_id"`
		Disposition   string   `json:"disposition"`
		FirewallRule  *named   `json:"firewall_rule,omitempty"`
		Policy        *named   `json:"policy,omitempty"`
	}
	apiActivity struct {
		ocsf
		Actor  actor          `json:"actor"`
		API    api            `json:"api"`
		Source endpoint       `json:"src_endpoint"`
		Dest   endpoint       `json:"dst_endpoint"`
		Rest   map[string]any `json:"unmapped,omitempty"`
	}
	detectionFinding struct {
		ocsf
		Info      findingInfo `json:"finding_info"`
		Evidences []evidence  `json:"evidences"`
		IsAlert   bool        `json:"is_alert"`
	}
	metadata struct {
		Version  string   `json:"version"`
		Product  product  `json:"product"`
		UID      string   `json:"uid"`
		Sequence uint64   `json:"sequence"`
		Profiles []string `json:"profiles"`
	}
	product struct {
		Name    string `json:"name"`
		Vendor  string `json:"vendor_name"`
		Version string `json:"version,omitempty"`
	}
	named struct {
		Name string `json:"name,omitempty"`
		UID  string `json:"uid,omitempty"`
	}
	actor struct {
		User    named   `json:"user"`
		Session session `json:"session"`
		App     string  `json:"app_name,omitempty"`
	}
	session struct {
		UID string `json:"uid"`
	}
	api struct {
		Operation string    `json:"operation"`
		Service   named     `json:"service"`
		Request   request   `json:"request"`
		Response  *response `json:"response,omitempty"`
	}
	request struct {
		UID  string          `json:"uid"`
		Data json.RawMessage `json:"data,omitempty"`
	}
	response struct {
		Code  int64  `json:"code"`
		Error string `json:"error,omitempty"`
	}
	endpoint struct {
		Name    string `json:"name,omitempty"`
		Service string `json:"svc_name,omitempty"`
	}
	findingInfo struct {
		UID      string         `json:"uid"`
		Title    string         `json:"title"`
		Desc     string         `json:"desc,omitempty"`
		Created  int64          `json:"created_time"`
		Analytic *analytic      `json:"analytic,omitempty"`
		Related  []relatedEvent `json:"related_events,omitempty"`
	}
	analytic struct {
		Name   string `json:"name"`
		TypeID int    `json:"type_id"`
		Type   string `json:"type"`
	}
	relatedEvent struct {
		UID     string `json:"uid"` // metadata.uid of that event
		TypeUID int    `json:"type_uid"`
	}
	evidence struct {
		Actor  actor    `json:"actor"`
		API    api      `json:"api"`
		Source endpoint `json:"src_endpoint"`
		Dest   endpoint `json:"dst_endpoint"`
	}
)

// enum is a value of an enumeration, and its caption.
type enum struct {
	id   int
	name string
}

var (
	otherActivity = enum{99, "tools/call"} // what a tool does is not known from its name
	created       = enum{1, "Create"}
	closed        = enum{3, "Close"}
)

func activity(c *call, version string) apiActivity {
	v := c.last()
	status := enum{0, "Unknown"}
	switch {
	case !c.Seen && !v.Action.Passes(), c.end.outcome.Failed():
		status = enum{2, "Failure"}
	case c.end.outcome == event.OutcomeOK:
		status = enum{1, "Success"}
	case c.end.outcome != "":
		status = enum{99, string(c.end.outcome)}
	}
	out := apiActivity{
		ocsf:  header(c, classAPI, otherActivity, *v, status, version),
		Actor: c.actor(), API: c.api(), Source: c.source(), Dest: endpoint{Service: cmp.Or(c.Server, unknown)},
		Rest: map[string]any{"verdict": v.Action.String()},
	}
	out.Time = milliseconds(c.At)
	if c.Seen {
		out.Rest["verdict"] = "seen"
	}
	if c.end.at != 0 {
		out.EndTime = milliseconds(c.end.at)
	}
	return out
}

func finding(c *call, what enum, v event.Verdict, version string) detectionFinding {
	status := enum{1, "New"}
	if what == closed {
		status = enum{4, "Resolved"}
	}
	out := detectionFinding{
		ocsf:      header(c, classDetection, what, v, status, version),
		IsAlert:   what == created,
		Evidences: []evidence{{Actor: c.actor(), API: c.api(), Source: c.source(), Dest: endpoint{Service: cmp.Or(c.Server, unknown)}}},
		Info: findingInfo{
			UID: c.uid(), Created: milliseconds(c.At), Desc: c.first.Why,
			Title: fmt.Sprintf("%s/%s: %s", c.Server, c.Tool, v.Action),
		},
	}
	if c.rule() != "" {
		out.Info.Analytic = &analytic{Name: c.rule(), TypeID: 1, Type: "Rule"}
	}
	for _, seq := range c.related {
		out.Info.Related = append(out.Info.Related, relatedEvent{
			UID: eventUID(seq, classAPI, otherActivity), TypeUID: classAPI*activitiesEach + otherActivity.id,
		})
	}
	return out
}

// header makes what both classes have. The times are those of the call, unless a hold has ended.
func header(c *call, class int, what enum, v event.Verdict, status enum, version string) ocsf {
	category, className := enum{class / classesEach, "Application Activity"}, "API Activity"
	if class == classDetection {
		category.name, className = "Findings", "Detection Finding"
	}
	caption := what.name
	if what == otherActivity {
		caption = "Other"
	}
	severity, action, disposition := weigh(c, v)
	h := ocsf{
		ActivityID: what.id, ActivityName: what.name, CategoryUID: category.id, CategoryName: category.name, ClassUID: class, ClassName: className,
		TypeUID: class*activitiesEach + what.id, TypeName: className + ": " + caption, SeverityID: severity.id, Severity: severity.name,
		Time: milliseconds(c.At), Message: v.Why, StatusID: status.id, Status: status.name, ActionID: action.id, Action: action.name,
		DispositionID: disposition.id, Disposition: disposition.name,
		Metadata: metadata{
			Version: ocsfVersion, Product: product{Name: "Umpire", Vendor: "umpire-dev", Version: version},
			UID: eventUID(c.Seq, class, what), Sequence: c.Seq, Profiles: []string{"security_control"},
		},
	}
	if what == closed {
		h.Time = milliseconds(c.settledAt)
	}
	if c.rule() != "" {
		h.FirewallRule = &named{Name: c.rule()}
	}
	if v.Policy != "" {
		h.Policy = &named{UID: v.Policy}
	}
	return h
}

// eventUID is metadata.uid of what is written of a call.
func eventUID(seq uint64, class int, what enum) string {
	return fmt.Sprintf("%d.%d.%d", seq, class, what.id)
}

// weigh says what a verdict is in the words of OCSF. Its profile security_control says which dispositions an action can have.
func weigh(c *call, v event.Verdict) (severity, action, disposition enum) {
	allowed := enum{1, "Allowed"}
	if c.Seen { // nobody had a say
		return enum{1, "Informational"}, enum{3, "Observed"}, enum{17, "Logged"}
	}
	switch v.Action {
	case event.Allow:
		if v.After != 0 {
			return enum{1, "Informational"}, allowed, enum{8, "Approved"}
		}
		return enum{1, "Informational"}, allowed, allowed
	case event.Log:
		return enum{2, "Low"}, enum{3, "Observed"}, enum{17, "Logged"}
	case event.Hold:
		return enum{3, "Medium"}, enum{4, "Modified"}, enum{14, "Delayed"}
	case event.Deny:
		if v.After != 0 {
			return enum{4, "High"}, enum{2, "Denied"}, enum{25, "Rejected"}
		}
	}
	return enum{4, "High"}, enum{2, "Denied"}, enum{2, "Blocked"}
}

func (c *call) uid() string { return fmt.Sprintf("%d-%d", c.At, c.Seq) }

func (c *call) actor() actor {
	return actor{User: named{Name: cmp.Or(c.Principal, unknown), UID: c.Principal}, Session: session{UID: c.Session}, App: c.Agent}
}

// unknown stands for a name that nobody gave: the schema wants one.
const unknown = "unknown"

// source is where the call comes from; something of it has to be said.
func (c *call) source() endpoint {
	e := endpoint{Name: c.Workspace, Service: c.Agent}
	if e == (endpoint{}) {
		e.Name = unknown
	}
	return e
}

func (c *call) api() api {
	a := api{Operation: c.Tool, Service: named{Name: cmp.Or(c.Server, unknown)}, Request: request{UID: strconv.FormatUint(c.Seq, 10), Data: c.Args}}
	if c.end.outcome != "" {
		a.Response = &response{Code: c.end.code}
		if c.end.outcome != event.OutcomeOK {
			a.Response.Error = string(c.end.outcome)
		}
	}
	return a
}

func milliseconds(t event.Time) int64 { return t.Time().UnixMilli() }
