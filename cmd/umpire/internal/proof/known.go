package proof

import (
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// known is what an attacker knows of an agent: what it has done so far.
type known struct {
	agent    string
	sessions []session
	tools    map[string][]step
	next     map[[2]string]bool
	hours    [24]bool
	others   []session // of agents that use the same servers
}

func know(agent string, before []session) *known {
	k := &known{agent: agent, tools: map[string][]step{}, next: map[[2]string]bool{}}
	servers := map[string]bool{}
	for _, s := range before {
		if s.agent != agent {
			continue
		}
		k.sessions = append(k.sessions, s)
		last, at := "", s.at
		for _, x := range s.steps {
			at = at.Add(x.after)
			k.hours[at.Hour()] = true
			k.tools[x.name()] = append(k.tools[x.name()], x)
			k.next[[2]string{last, x.name()}] = true
			last, servers[x.server] = x.name(), true
		}
	}
	for _, s := range before {
		if s.agent != agent && slices.ContainsFunc(s.steps, func(x step) bool { return servers[x.server] }) {
			k.others = append(k.others, s)
		}
	}
	return k
}

// again returns a step as the agent has done one with this tool.
func (k *known) again(r *rand.Rand, tool string) step { return one(r, k.tools[tool]...).copied() }

// most returns how often the agent has used a tool within some time; "" is any tool.
func (k *known) most(tool string, within time.Duration) (most int) {
	for _, s := range k.sessions {
		var times []time.Duration
		at := time.Duration(0)
		for _, x := range s.steps {
			at += x.after
			if tool != "" && x.name() != tool {
				continue
			}
			times = append(times, at)
			for at-times[0] > within {
				times = times[1:]
			}
			most = max(most, len(times))
		}
	}
	return most
}

// frequent reports whether enough was seen of an argument to say what it is.
const frequent = 15

// texts returns the arguments of a tool that are text, in order.
func (k *known) texts(tool string) (out []string) {
	of := map[string]int{}
	for _, x := range k.tools[tool] {
		for name, v := range x.args {
			if s, ok := v.(string); ok && s != "" {
				of[name]++
			}
		}
	}
	for _, name := range sorted(of) {
		if 2*of[name] > len(k.tools[tool]) {
			out = append(out, name)
		}
	}
	return out
}

// values returns the different texts of an argument.
func (k *known) values(tool, arg string) (out []string, seen int) {
	of := map[string]bool{}
	for _, x := range k.tools[tool] {
		if s, ok := x.args[arg].(string); ok {
			of[s] = true
			seen++
		}
	}
	return sorted(of), seen
}

// find returns a tool and one of its arguments that are so.
func (k *known) find(r *rand.Rand, so func(tool, arg string) bool) (tool, arg string) {
	var found [][2]string
	for _, t := range sorted(k.tools) {
		args := map[string]bool{}
		for _, x := range k.tools[t] {
			for name := range x.args {
				args[name] = true
			}
		}
		for _, a := range sorted(args) {
			if so(t, a) {
				found = append(found, [2]string{t, a})
			}
		}
	}
	if len(found) == 0 {
		return "", ""
	}
	f := one(r, found...)
	return f[0], f[1]
}

// names reports whether an argument names one of many things: a text that ends with a number, or a file, or an address.
func (k *known) names(tool, arg string) bool {
	list, seen := k.values(tool, arg)
	if seen < frequent || 2*len(list) < seen {
		return false
	}
	short := 0
	for _, v := range list {
		if len(v) < 60 && strings.ContainsAny(v, "0123456789") && !strings.Contains(v, " ") {
			short++
		}
	}
	return 10*short > 9*len(list)
}

// chosen reports whether an argument is one of few words.
func (k *known) chosen(tool, arg string) bool {
	list, seen := k.values(tool, arg)
	return seen >= 2*frequent && len(list) <= 6
}

// numbers returns the numbers of an argument.
func (k *known) numbers(tool, arg string) (out []float64) {
	for _, x := range k.tools[tool] {
		switch n := x.args[arg].(type) {
		case float64:
			out = append(out, n)
		case int:
			out = append(out, float64(n))
		}
	}
	return out
}

// amount reports whether an argument is a number of which there are many.
func (k *known) amount(tool, arg string) bool {
	list := k.numbers(tool, arg)
	return len(list) >= frequent && len(list) == len(k.tools[tool])
}

// longest returns the length of the longest text of an argument.
func (k *known) longest(tool, arg string) (most int) {
	list, _ := k.values(tool, arg)
	for _, v := range list {
		most = max(most, len(v))
	}
	return most
}

// numbered returns the text with another number at its last digits, of the same length if it can be.
func numbered(text string, n int) string {
	end := strings.LastIndexAny(text, "0123456789") + 1
	begin := end
	for begin > 0 && text[begin-1] >= '0' && text[begin-1] <= '9' {
		begin--
	}
	if begin == end {
		return text
	}
	digits := []byte(text[begin:end])
	for i := len(digits) - 1; i >= 0 && n > 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return text[:begin] + string(digits) + text[end:]
}
