package interchange

import (
	"slices"
	"strings"
)

// cut cuts the name by which a model knows a tool, behind mcp__, into those of its server and of the tool. Where one ends and the
// other begins cannot be seen: names may have two underscores themselves, and clients write one for what is no letter, digit or
// dash. So the servers that are known decide, the longest name first. Without one it is cut as early as it can be, and sure
// reports whether that is the only way.
func (im *Import) cut(name string) (server, tool string, sure bool) {
	fits := 0
	longest := ""
	for _, known := range im.Servers {
		plain := plainName(known)
		rest, ok := strings.CutPrefix(name, plain+"__")
		if !ok || rest == "" || known == "" {
			continue
		}
		if fits++; len(plain) > len(longest) {
			server, tool, longest = known, rest, plain
		}
	}
	if fits > 0 {
		return server, tool, fits == 1
	}
	ways := 0
	for i := 1; i+2 < len(name); i++ {
		if name[i:i+2] != "__" {
			continue
		}
		if ways++; ways == 1 {
			server, tool = name[:i], name[i+2:]
		}
	}
	return server, tool, ways == 1
}

// plainName is the name of a server as clients write it for models.
func plainName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
}

// guess notes that a name could have been cut elsewhere.
func (r *Report) guess(name string) {
	if i, known := slices.BinarySearch(r.Guessed, name); !known {
		r.Guessed = slices.Insert(r.Guessed, i, name)
	}
}
