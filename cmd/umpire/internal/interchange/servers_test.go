package interchange

import "testing"

// Where the name of a server ends and that of a tool begins is told by the servers that are known; without them it is a guess
// wherever there are two places.
func TestNamesAreCutByTheServersThatAreKnown(t *testing.T) {
	for _, c := range []struct {
		known              []string
		name, server, tool string
		sure               bool
	}{
		{nil, "mail__send", "mail", "send", true},
		{nil, "mail__send_all", "mail", "send_all", true},
		{nil, "my__server__send", "my", "server__send", false},
		{nil, "a___b", "a", "_b", false},
		{nil, "__a__b", "__a", "b", true},
		{[]string{"my__server"}, "my__server__send", "my__server", "send", true},
		{[]string{"my.server"}, "my_server__send", "my.server", "send", true},
		{[]string{"my", "my__server"}, "my__server__send", "my__server", "send", false},
		{[]string{"other"}, "my__server__send", "my", "server__send", false},
		{[]string{"my"}, "my__server__send", "my", "server__send", true},
		{[]string{"my__server", ""}, "my__server__", "my", "server__", true},
	} {
		im := Import{Servers: c.known}
		if server, tool, sure := im.cut(c.name); server != c.server || tool != c.tool || sure != c.sure {
			t.Errorf("%s, where %q are known: %s and %s, %v", c.name, c.known, server, tool, sure)
		}
	}
}
