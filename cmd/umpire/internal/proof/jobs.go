package proof

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// job is what an honest agent does, day by day.
type job struct {
	agent    string
	weekdays float64 // sessions a day, on average
	weekends float64
	from, to int // hours (UTC) in which sessions begin
	machine  bool
	session  func(w *world, r *rand.Rand) []step
}

// jobs are the honest agents. Some use the same servers in other ways, one is a program that makes a hundred calls in a second,
// and each does now and then what it seldom does.
var jobs = []job{
	{agent: "support", weekdays: 9, weekends: 3, from: 7, to: 19, session: (*world).support},
	{agent: "finance", weekdays: 3, from: 8, to: 16, session: (*world).finance},
	{agent: "coder", weekdays: 4, weekends: 0.5, from: 8, to: 21, session: (*world).coder},
	{agent: "reviewer", weekdays: 5, from: 9, to: 17, session: (*world).reviewer},
	{agent: "research", weekdays: 5, weekends: 2, from: 6, to: 22, session: (*world).research},
	{agent: "operator", weekdays: 4, weekends: 2, from: 5, to: 20, session: (*world).operator},
	{agent: "nightly", weekdays: 1, weekends: 1, from: 2, to: 2, machine: true, session: (*world).nightly},
}

// world is what the jobs are about. It grows: there are new orders, customers and files every day.
type world struct {
	day   int
	scale float64
	files []string
}

// monday is when everything begins.
var monday = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// live returns what an agent does from one day to another.
func (j *job) live(seed uint64, from, to int) (out []session) {
	scale := 0.7 + 0.8*chance(seed, j.agent, "scale").Float64()
	for day := from; day < to; day++ {
		r := chance(seed, j.agent, day)
		w := &world{day: day, scale: scale, files: files(seed, day)}
		date := monday.AddDate(0, 0, day)
		n := 1
		if !j.machine {
			mean := j.weekdays
			if d := date.Weekday(); d == time.Saturday || d == time.Sunday {
				mean = j.weekends
			}
			n = several(r, mean*scale)
		}
		for i := range n {
			at := date.Add(time.Duration(j.from)*time.Hour + time.Duration(r.Float64()*float64(j.to-j.from)*float64(time.Hour)))
			if j.machine {
				at = at.Add(time.Duration(r.IntN(120)) * time.Second)
			}
			out = append(out, session{agent: j.agent, id: fmt.Sprintf("%s-%d-%d", j.agent, day, i), at: at, steps: j.session(w, r)})
		}
	}
	return out
}

// files are the names of a project's files. Each day there is another one.
func files(seed uint64, day int) (out []string) {
	r := chance(seed, "files")
	for range 150 + day {
		dir := one(r, "api", "store", "web", "billing", "internal/queue", "cmd")
		out = append(out, fmt.Sprintf("src/%s/%s_%s.go", dir, one(r, "user", "order", "price", "mail", "page", "token"), one(r, "list", "make", "check", "sync", "load", "test")))
	}
	return out
}

// do is a step after a pause.
func do(r *rand.Rand, name string, args map[string]any) step {
	server, tool, _ := strings.Cut(name, "/")
	return step{server: server, tool: tool, args: args, bytes: 150 + int(200*math.Exp(0.8*r.NormFloat64())), after: pause(r, 6*time.Second), fails: r.IntN(60) == 0}
}

func (w *world) order(r *rand.Rand) string {
	return fmt.Sprintf("ord_%06d", 100_000+w.day*40+r.IntN(20_000))
}

func (w *world) ticket(r *rand.Rand) string { return fmt.Sprintf("TCK-%d", 4000+w.day*12+r.IntN(60)) }

func customer(r *rand.Rand) string {
	n := r.IntN(8000)
	return fmt.Sprintf("%s.%d@%s", one(r, "kim", "ana", "lee", "joe", "eva"), n, one(r, "example.com", "example.org", "mail.example"))
}

// cents is an amount as honest ones are: most are small, few are not.
func cents(r *rand.Rand) float64 {
	return math.Round(min(100*25*math.Exp(0.7*r.NormFloat64()), 40_000)) / 100
}

func words(r *rand.Rand, n int) string {
	var out []string
	for range n {
		out = append(out, one(r, "the", "order", "late", "your", "refund", "we", "sorry", "please", "parcel", "today", "will", "arrive", "price", "see", "new", "report"))
	}
	return strings.Join(out, " ")
}

func (w *world) support(r *rand.Rand) (out []step) {
	who := customer(r)
	out = append(out, do(r, "crm/find_customer", map[string]any{"email": who}))
	order := w.order(r)
	for range 1 + several(r, 0.8) {
		order = w.order(r)
		look := do(r, "billing/get_order", map[string]any{"order_id": order})
		look.fails = r.IntN(20) == 0
		out = append(out, look)
	}
	for i := range one(r, 0, 0, 1, 1, 1, 2) {
		if i > 0 && r.IntN(2) == 0 {
			order = w.order(r)
		}
		out = append(out, do(r, "billing/issue_refund", map[string]any{"order_id": order, "amount": cents(r), "reason": one(r, "damaged", "late", "wrong item", "other")}))
	}
	if r.IntN(3) > 0 {
		out = append(out, do(r, "mail/send", map[string]any{"to": who, "subject": "Your order " + order, "body": words(r, between(r, 12, 60))}))
	}
	if r.IntN(25) == 0 {
		out = append(out, do(r, "crm/add_note", map[string]any{"email": who, "note": words(r, between(r, 4, 25))}))
	}
	return out
}

func (w *world) finance(r *rand.Rand) (out []step) {
	out = append(out, do(r, "billing/list_orders", map[string]any{"day": monday.AddDate(0, 0, w.day-1).Format(time.DateOnly), "status": one(r, "paid", "open", "refunded")}))
	for range between(r, 5, 25) {
		x := do(r, "billing/get_order", map[string]any{"order_id": w.order(r)})
		x.after = pause(r, 2*time.Second)
		out = append(out, x)
	}
	if r.IntN(4) > 0 {
		out = append(out, do(r, "billing/export_ledger", map[string]any{"month": monday.AddDate(0, 0, w.day).Format("2006-01"), "format": one(r, "csv", "csv", "pdf")}))
	}
	return out
}

func (w *world) coder(r *rand.Rand) (out []step) {
	out = append(out, do(r, "git/status", map[string]any{"repo": "shop"}))
	for range 1 + several(r, 1.5*w.scale) {
		out = append(out, do(r, "files/search", map[string]any{"pattern": one(r, "func ", "type ", "TODO", "err != nil") + words(r, 1), "path": "src"}))
		file := one(r, w.files...)
		for range between(r, 1, 5) {
			file = one(r, w.files...)
			x := do(r, "files/read", map[string]any{"path": file})
			x.after = pause(r, 3*time.Second)
			out = append(out, x)
		}
		for range between(r, 1, 3) {
			out = append(out, do(r, "files/write", map[string]any{"path": file, "text": words(r, between(r, 20, 300))}))
			t := do(r, "shell/run", map[string]any{"command": one(r, "go test ./...", "go build ./...", "go vet ./...", "go test ./"+file[:strings.LastIndex(file, "/")])})
			t.fails = r.IntN(3) == 0
			out = append(out, t)
		}
	}
	if r.IntN(3) > 0 {
		out = append(out, do(r, "git/commit", map[string]any{"repo": "shop", "message": words(r, between(r, 4, 12))}))
	}
	return out
}

func (w *world) reviewer(r *rand.Rand) (out []step) {
	out = append(out, do(r, "git/diff", map[string]any{"repo": "shop", "base": one(r, "main", "main", "release")}))
	for range between(r, 3, 10) {
		out = append(out, do(r, "files/read", map[string]any{"path": one(r, w.files...)}))
	}
	if r.IntN(2) == 0 {
		out = append(out, do(r, "git/log", map[string]any{"repo": "shop", "limit": one(r, 5, 10, 20)}))
	}
	return append(out, do(r, "git/comment", map[string]any{"pull": 300 + w.day + r.IntN(10), "text": words(r, between(r, 5, 80)), "verdict": one(r, "approve", "change", "comment")}))
}

func (w *world) research(r *rand.Rand) (out []step) {
	for range 1 + several(r, 1.2) {
		out = append(out, do(r, "web/search", map[string]any{"query": words(r, between(r, 2, 7)), "limit": one(r, 5, 10, 10, 20)}))
		for range 1 + several(r, 2) {
			x := do(r, "web/fetch", map[string]any{"url": fmt.Sprintf("https://%s.example/%s/%d", one(r, "news", "docs", "blog", "wiki", "shop", "forum"), words(r, 1), r.IntN(100_000))})
			x.bytes = int(9000 * math.Exp(r.NormFloat64()))
			x.fails = r.IntN(12) == 0
			out = append(out, x)
		}
	}
	return append(out, do(r, "notes/append", map[string]any{"page": one(r, "market", "rivals", "prices"), "text": words(r, between(r, 20, 150))}))
}

func (w *world) operator(r *rand.Rand) (out []step) {
	ticket := w.ticket(r)
	out = append(out, do(r, "desk/get_ticket", map[string]any{"ticket": ticket}))
	host := fmt.Sprintf("%s-%d", one(r, "web", "db", "queue"), between(r, 1, 6))
	if r.IntN(3) > 0 {
		for range between(r, 1, 4) {
			out = append(out, do(r, "ops/read_log", map[string]any{"host": host, "lines": one(r, 50, 100, 200)}))
		}
	}
	if r.IntN(3) == 0 {
		out = append(out,
			do(r, "vault/read_secret", map[string]any{"name": one(r, "db/readonly", "queue/admin", "web/cert")}),
			do(r, "ops/restart", map[string]any{"host": host, "service": one(r, "nginx", "postgres", "worker")}),
			do(r, "ops/health", map[string]any{"host": host}))
	} else if r.IntN(3) == 0 {
		out = append(out, do(r, "mail/send", map[string]any{"to": one(r, "oncall@corp.example", "desk@corp.example"), "subject": ticket, "body": words(r, between(r, 8, 40))}))
	}
	return append(out, do(r, "desk/close_ticket", map[string]any{"ticket": ticket, "state": one(r, "solved", "solved", "waiting")}))
}

func (w *world) nightly(r *rand.Rand) (out []step) {
	out = append(out, do(r, "bank/list_accounts", map[string]any{"active": true}))
	first := 1000
	for i := range between(r, 95, 105) {
		x := do(r, "bank/get_balance", map[string]any{"account": fmt.Sprintf("AC%05d", first+i)})
		x.after = time.Duration(between(r, 7, 13)) * time.Millisecond
		out = append(out, x)
	}
	return append(out, do(r, "files/write", map[string]any{"path": "reports/" + monday.AddDate(0, 0, w.day).Format(time.DateOnly) + ".csv", "text": words(r, between(r, 200, 300))}))
}

// community are all agents from one day to another, in the order of their sessions.
func community(seed uint64, from, to int) (out []session) {
	for i := range jobs {
		out = append(out, jobs[i].live(seed, from, to)...)
	}
	slices.SortStableFunc(out, func(a, b session) int { return a.at.Compare(b.at) })
	return out
}
